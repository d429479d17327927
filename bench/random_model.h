// A model directory of Stable Diffusion 1.5's shapes with random weights: speed, memory and loading follow from the
// shapes alone, and nothing has to be fetched.
#pragma once

#include <string>

#include "base/status.h"

namespace tiltshift::engine {

struct RandomModelOptions {
  std::string folder;      // made; a model of an earlier run that lies there is kept
  std::string source_dir;  // the repository: the tokenizer is the built-in model's
  bool zeros = false;      // all weights are, in files that take no room: for what does not compute
};

// Some 2.1 GB of fp16, as such checkpoints are kept: UNet, the VAE's decoder, text encoder.
absl::Status WriteSd15(const RandomModelOptions& options);

}  // namespace tiltshift::engine
