#include "engine/testing/tensor_file.h"

#include <cstring>
#include <span>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"

namespace tiltshift::engine {

void TensorFile::Add(const std::string& name, const std::string& dtype,
                     const std::vector<int64_t>& shape, const std::string& bytes) {
  absl::StrAppend(&tensors_, tensors_.empty() ? "" : ",", "\"", name, "\":{\"dtype\":\"", dtype,
                  "\",\"shape\":[", absl::StrJoin(shape, ","), "],\"data_offsets\":[", data_.size(),
                  ",", data_.size() + bytes.size(), "]}");
  data_ += bytes;
}

void TensorFile::AddFloats(const std::string& name, const std::vector<int64_t>& shape,
                           const std::vector<float>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  Add(name, "F32", shape, std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

void TensorFile::SetMetadata(const std::string& key, const std::string& value) {
  metadata_ = absl::StrCat("\"__metadata__\":{\"", key, "\":", nlohmann::json(value).dump(), "}");
}

std::string TensorFile::Bytes() const {
  const std::string between = metadata_.empty() || tensors_.empty() ? "" : ",";
  const std::string header = absl::StrCat("{", metadata_, between, tensors_, "}");
  std::string bytes(8, '\0');
  const uint64_t length = header.size();
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data_;
}

}  // namespace tiltshift::engine
