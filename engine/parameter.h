// A trained tensor as the graph names it: views of a model file, put together when a backend packs them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/safetensors.h"

namespace tiltshift::engine {

// Immutable after loading and at a stable address: backends key their packed copies by it. The views point
// into the model's mapped files, so nothing is copied until a backend asks.
struct Parameter {
  std::string name;
  // Its own among all of a model, the same at each load of the same files; empty where it is not what they say.
  std::string key;
  // Row-major. A filter is [out, in, kernel, kernel], a matrix [out, in], a bias or a scale [channels].
  std::vector<int64_t> shape;
  // Stacked along the first dimension: q, k and v of an attention are one matrix.
  std::vector<TensorView> parts;
  // Where not empty, a second stack of the same shape that is added: the sum of two biases.
  std::vector<TensorView> addends;

  int64_t elements() const;
  // Writes all elements as floats. Loading has checked dtypes and shapes.
  void CopyTo(std::span<float> out) const { CopyElements(0, out); }
  // The elements from `first` on, as many as `out` has room for; from row `first` of the first dimension on.
  void CopyElements(int64_t first, std::span<float> out) const;
  void CopyRows(int64_t first, std::span<float> out) const;
  // Nothing of it will be read for a while: its pages of mapped files need not stay in memory.
  void Release() const;
};

}  // namespace tiltshift::engine
