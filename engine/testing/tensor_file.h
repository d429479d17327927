// A safetensors file made by hand, right or wrong on purpose.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tiltshift::engine {

class TensorFile {
 public:
  // `bytes` as they are to lie in the file.
  void Add(const std::string& name, const std::string& dtype, const std::vector<int64_t>& shape,
           const std::string& bytes);
  void AddFloats(const std::string& name, const std::vector<int64_t>& shape,
                 const std::vector<float>& values);
  // JSON's quotes in `value` are escaped.
  void SetMetadata(const std::string& key, const std::string& value);
  std::string Bytes() const;

 private:
  std::string metadata_, tensors_, data_;
};

}  // namespace tiltshift::engine
