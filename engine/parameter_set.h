// Collects a network's parameters from its files while the network is put together.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/parameter.h"
#include "engine/weights.h"

namespace tiltshift::engine {

// Keeps the first error and goes on with empty parameters after it: read everything, then ask status().
// Parameters stay at their addresses, and their views are valid while the Weights live.
class ParameterSet {
 public:
  explicit ParameterSet(Weights weights) : weights_(std::move(weights)) {}

  // A missing tensor is NotFound, one of another shape or of no floating-point type DataLoss; both name it.
  const Parameter* Get(const std::string& name, std::vector<int64_t> shape);
  // Several tensors of these shapes, stacked along the first dimension.
  struct Part {
    std::string name;
    std::vector<int64_t> shape;
  };
  const Parameter* Stack(const std::string& name, const std::vector<Part>& parts,
                         const std::vector<Part>& addends = {});
  bool Has(const std::string& name) const { return weights_.Find(name) != nullptr; }

  const Weights& weights() const { return weights_; }
  absl::Status status() const { return status_; }

 private:
  TensorView View(const Part& part);

  Weights weights_;
  std::deque<Parameter> parameters_;
  absl::Status status_;
};

}  // namespace tiltshift::engine
