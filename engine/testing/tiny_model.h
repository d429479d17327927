// A model of Stable Diffusion 1.5's kind, small and random, for tests that must not depend on
// trained weights.
//
// Its configs and its list of tensors lie in tests/goldens/tiny; the weights follow from the
// tensors' names, in the same way here and in tests/goldens/parity/parts.py.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace tiltshift::engine {

// Writes the model directory to `folder`: about 45 MB. Smaller ones, of every family:
// parity_case.h.
absl::Status WriteTinyModel(const std::string& source_dir, const std::string& folder);

// A tensor's numbers, BF16, as they follow from its name.
std::string TinyTensorBytes(const std::string& name, const std::vector<int64_t>& shape);

}  // namespace tiltshift::engine
