#include "engine/testing/tiny_lora.h"

#include <cstring>
#include <sstream>

#include "base/file.h"
#include "engine/testing/tensor_file.h"
#include "engine/testing/tiny_model.h"

namespace tiltshift::engine {
namespace {

// Alphas are small whole numbers: the upper half of the float is exact.
std::string Bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  bits >>= 16;
  return std::string(reinterpret_cast<const char*>(&bits), 2);
}

}  // namespace

absl::Status WriteTinyLora(const std::string& source_dir, const std::string& name,
                           const std::string& path) {
  TS_ASSIGN_OR_RETURN(const std::string list,
                      ReadFile(absl::StrCat(source_dir, "/tests/goldens/lora/", name, ".txt")));
  TensorFile file;
  std::istringstream lines(list);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string first, second;
    words >> first;
    if (first == "metadata") {
      words >> second >> std::ws;
      std::string value;
      std::getline(words, value);
      file.SetMetadata(second, value);
    } else if (const size_t equals = line.find(" = "); equals != std::string::npos) {
      file.Add(first, "BF16", {}, Bf16(std::stof(line.substr(equals + 3))));
    } else {
      std::vector<int64_t> shape;
      for (int64_t dim; words >> dim;) shape.push_back(dim);
      file.Add(first, "BF16", shape, TinyTensorBytes(first, shape));
    }
  }
  return WriteFileAtomic(path, file.Bytes(), IfPresent::kReplace).status();
}

}  // namespace tiltshift::engine
