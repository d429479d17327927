#include "engine/testing/tiny_model.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <sstream>
#include <vector>

#include "base/file.h"

namespace tiltshift::engine {
namespace {

uint64_t SplitMix64(uint64_t z) {
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

// Whole numbers times powers of two: exact in bf16, so the upper half of each float is the tensor.
std::string TensorBytes(const std::string& name, const std::vector<int64_t>& shape) {
  uint64_t seed = 0xcbf29ce484222325;
  for (const char c : name) seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  int64_t count = 1;
  for (const int64_t dim : shape) count *= dim;
  const double fan_in = static_cast<double>(count) / static_cast<double>(shape[0]);
  const double scale = std::exp2(std::floor(std::log2(std::sqrt(3 / fan_in) / 127)));
  const bool vector = shape.size() == 1;
  const bool weight = name.ends_with("weight");
  std::string bytes(2 * count, '\0');
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t z = SplitMix64(seed + (i + 1) * 0x9e3779b97f4a7c15);
    double value = (static_cast<double>(z % 255) - 127) * scale;
    if (vector) {
      const double whole = static_cast<double>(z % 63) - 31;
      value = weight ? whole / 128 + 1 : whole / 1024;
    }
    const float rounded = static_cast<float>(value);
    uint32_t bits;
    std::memcpy(&bits, &rounded, 4);
    bits >>= 16;
    std::memcpy(&bytes[2 * i], &bits, 2);
  }
  return bytes;
}

struct File {
  std::string header = "{";
  std::string data;

  void Add(const std::string& name, const std::vector<int64_t>& shape) {
    const std::string bytes = TensorBytes(name, shape);
    std::string dims;
    for (const int64_t dim : shape) absl::StrAppend(&dims, dims.empty() ? "" : ",", dim);
    absl::StrAppend(&header, header.size() > 1 ? "," : "", "\"", name, "\":{\"dtype\":\"BF16\",\"shape\":[",
                    dims, "],\"data_offsets\":[", data.size(), ",", data.size() + bytes.size(), "]}");
    data += bytes;
  }
  std::string Bytes() const {
    std::string bytes(8, '\0');
    const uint64_t length = header.size() + 1;
    std::memcpy(bytes.data(), &length, 8);
    return bytes + header + "}" + data;
  }
};

absl::Status Copy(const std::string& from, const std::string& to) {
  TS_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(from));
  return WriteFileAtomic(to, bytes, IfPresent::kReplace).status();
}

}  // namespace

std::string TinyTensorBytes(const std::string& name, const std::vector<int64_t>& shape) {
  return TensorBytes(name, shape);
}

absl::Status WriteTinyModel(const std::string& source_dir, const std::string& folder) {
  const std::string tiny = source_dir + "/tests/goldens/tiny/";
  for (const char* name : {"model_index.json", "scheduler/scheduler_config.json",
                           "text_encoder/config.json", "unet/config.json", "vae/config.json"}) {
    TS_RETURN_IF_ERROR(Copy(tiny + name, folder + "/" + name));
  }
  for (const char* name : {"tokenizer/vocab.json", "tokenizer/merges.txt"}) {
    TS_RETURN_IF_ERROR(Copy(source_dir + "/engine/testdata/" + name, folder + "/" + name));
  }
  TS_ASSIGN_OR_RETURN(const std::string list, ReadFile(tiny + "tensors.txt"));
  std::map<std::string, File> files;
  std::istringstream lines(list);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string component, name;
    words >> component >> name;
    std::vector<int64_t> shape;
    for (int64_t dim; words >> dim;) shape.push_back(dim);
    files[component].Add(name, shape);
  }
  for (const auto& [component, file] : files) {
    const std::string stem = component == "text_encoder" ? "model" : "diffusion_pytorch_model";
    TS_RETURN_IF_ERROR(WriteFileAtomic(folder + "/" + component + "/" + stem + ".safetensors", file.Bytes(),
                                       IfPresent::kReplace)
                           .status());
  }
  return absl::OkStatus();
}

}  // namespace tiltshift::engine
