// A model of Stable Diffusion 1.5's kind, small and random, for tests that must not depend on trained weights.
//
// Its configs and its list of tensors lie in tests/goldens/tiny; the weights follow from the tensors' names, in
// the same way here and in tests/goldens/make_engine_goldens.py.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace tiltshift::engine {

// Writes the model directory to `folder`. `set`: the folder of tests/goldens with its configs and list; "tiny" is
// about 45 MB, the others are less than 2.
absl::Status WriteTinyModel(const std::string& source_dir, const std::string& folder,
                            const std::string& set = "tiny");

// A tensor's numbers, BF16, as they follow from its name.
std::string TinyTensorBytes(const std::string& name, const std::vector<int64_t>& shape);

}  // namespace tiltshift::engine
