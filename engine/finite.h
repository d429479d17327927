// Numbers that no weight can be.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/safetensors.h"

namespace tiltshift::engine {

// The index of the first NaN or infinity; none also for dtypes that are no floating-point numbers.
std::optional<int64_t> FirstNotFinite(const TensorView& view);

}  // namespace tiltshift::engine
