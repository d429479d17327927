// How far a model's pictures at one precision are from the same at another: what benches print and a test bounds.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "engine/renderer.h"

namespace tiltshift::engine::testing {

struct PrecisionOptions {
  std::string model;  // a folder
  int size = 256, steps = 20, prompts = 8;  // of the set, at most 8
};

struct PrecisionError {
  // Of the latent after each step, relative L2 against the reference's on its own way: the mean of the prompts.
  std::vector<double> latents;
  double worst_latent = 0;  // of a prompt, at the end
  double psnr = 0;          // in dB, of all prompts' pictures as bytes
  double worst_psnr = 0;    // of one
};

// Against fp32 by oneDNN, which multiplies and adds floats one by one.
absl::StatusOr<PrecisionError> MeasurePrecision(Precision precision, const PrecisionOptions& options);

}  // namespace tiltshift::engine::testing
