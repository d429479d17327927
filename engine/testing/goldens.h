// What the other side of a comparison made: a safetensors file of tests/goldens, and how far from
// it ours is.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

namespace tiltshift::engine {

// |ours - golden| / |golden|; where the golden is zeros, |ours|. Infinite for as many as there are
// not.
double RelativeL2(std::span<const float> ours, std::span<const float> golden);

// Rows 0, every, 2 * every, ... of as many floats each: goldens keep a part of what is large.
std::vector<float> EveryRow(std::span<const float> values, size_t row, size_t every);

// Tensors by name. A name that is not there gives nothing.
class Goldens {
 public:
  // `name`: of the file in tests/goldens.
  static absl::StatusOr<Goldens> Open(const std::string& source_dir, const std::string& name);

  bool Has(const std::string& tensor) const;
  std::vector<int64_t> Shape(const std::string& tensor) const;
  std::vector<float> Floats(const std::string& tensor) const;
  std::vector<int32_t> Ints(const std::string& tensor) const;
  std::vector<uint8_t> Bytes(const std::string& tensor) const;
  const std::string& file() const;  // its bytes

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace tiltshift::engine
