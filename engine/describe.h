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

// A LoRA's file, by itself.
struct LoraDescription {
  std::string changes;  // "264 layers of unet and text_encoder, rank 8 to 32"
  uint64_t bytes = 0;   // of the file
  std::string hash;     // SHA-256 of it
};

struct ModelDescription {
  std::string kind;  // what its configs mean: "text to image, 4 latent channels, epsilon, ..."
  std::string
      sampler;  // that of a request that names none, as a spec spells it; empty: it must name one
  int native_size = 0;  // pixels a side it was trained for; 0: its configs do not say
  int size_multiple = 0;
  std::string hash, render_class;  // as of a Model
  std::vector<PartDescription> parts;
  uint64_t packed_bytes = 0;         // of its packed weights in the weight cache; 0: none there
  std::vector<std::string> fitting;  // of what was asked about
};

// A ControlNet's directory.
struct ControlDescription {
  std::string kind;  // "ControlNet of 4 levels, 320 to 1280 channels, text 768 wide"
  PartDescription part;
  std::string hash;
};

// Loads and checks everything, the tensors against the networks' shapes and for numbers that are
// not finite, but packs nothing and takes nothing from a cache: the files' size is read, and little
// memory taken. Model::Load's errors, and DataLoss for a tensor with NaN or infinity. `beside`: of what to say whether it fits.
absl::StatusOr<ModelDescription> DescribeModel(const std::string& directory,
                                               const LoadOptions& options,
                                               const Beside& beside = {});

// LoraFile::Open's errors.
absl::StatusOr<LoraDescription> DescribeLora(const std::string& file);

// Everything of it is read and checked. Errors name the file, the tensor or the field.
absl::StatusOr<ControlDescription> DescribeControl(const std::string& directory);
struct ControlSummary {
  std::string hash;
  uint64_t weight_bytes = 0;  // of its files
};
// The same checks, for a worker that says what it has.
absl::StatusOr<ControlSummary> ExamineControl(const std::string& directory);

// What to do about an error of Model::Load or DescribeModel, in half a sentence.
std::string Advice(const absl::Status& error);

}  // namespace tiltshift::engine
