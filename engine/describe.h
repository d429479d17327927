// What a model directory is, for people: its kind and its figures, after a check of all of it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/renderer.h"

namespace tiltshift::engine {

struct PartDescription {
  std::string name;         // "unet"
  uint64_t parameters = 0;  // numbers in its tensors
  uint64_t bytes = 0;       // of its files
  std::string dtypes;       // of its tensors as they are stored, "F16" or "F16, F32"
};

struct ModelDescription {
  std::string kind;  // what its configs mean: "text to image, 4 latent channels, epsilon, ..."
  std::string
      sampler;  // that of a request that names none, as a spec spells it; empty: it must name one
  int native_size = 0;  // pixels a side it was trained for; 0: its configs do not say
  int size_multiple = 0;
  std::string hash, render_class;  // as of a Model
  std::vector<PartDescription> parts;
};

// Loads and checks everything, the tensors against the networks' shapes and for numbers that are
// not finite, but packs nothing: the files' size is read, and little memory taken. Model::Load's
// errors, and DataLoss for a tensor with NaN or infinity.
absl::StatusOr<ModelDescription> DescribeModel(const std::string& directory,
                                               const LoadOptions& options);

// What to do about an error of Model::Load or DescribeModel, in half a sentence.
std::string Advice(const absl::Status& error);

}  // namespace tiltshift::engine
