// Numbers that no weight can be.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/safetensors.h"
#include "engine/weights.h"

namespace tiltshift::engine {

// The index of the first NaN or infinity; none also for dtypes that are no floating-point numbers.
std::optional<int64_t> FirstNotFinite(const TensorView& view);

// DataLoss names the first tensor (by name) with such a number, and where in it. Reads everything once, on all of the
// thread's OpenMP threads; pages of files go when they were read.
absl::Status CheckFinite(const std::string& folder, const Weights& weights);

}  // namespace tiltshift::engine
