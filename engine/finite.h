// Numbers that no weight can be.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string_view>

#include "engine/safetensors.h"
#include "engine/weights.h"

namespace tiltshift::engine {

// The index of the first NaN or infinity; none also for dtypes that are no floating-point numbers.
std::optional<int64_t> FirstNotFinite(const TensorView& view);

// DataLoss names the first tensor (by name) with such a number, and where in it. Reads everything
// once, on all of the thread's OpenMP threads; pages of files go when they were read.
absl::Status CheckFinite(const Weights& weights);
// The same of those tensors alone that are not what their file says.
absl::Status CheckChangedFinite(const Weights& weights);

// The search by whoever reads the weights' files anyway, a part at a time, so that nothing is read
// twice.
class FiniteSearch {
 public:
  // Its files must outlive it. Before any Look.
  void Add(const Weights& weights);
  // Part of a mapped file: all elements that begin there. Called from any thread.
  void Look(std::string_view bytes);
  // As CheckFinite, once the files were looked through.
  absl::Status status() const;

 private:
  struct Tensor {
    Tensor(const std::string& of, const std::string& its_name, const TensorView& its_view)
        : where(of), name(its_name), view(its_view) {}
    const std::string where, name;
    const TensorView view;
    std::atomic<int64_t> first_bad = -1;  // none
  };
  std::deque<Tensor> tensors_;               // in the order of adding
  std::map<const char*, Tensor*> by_place_;  // of mapped files: where they begin; none overlap
};

}  // namespace tiltshift::engine
