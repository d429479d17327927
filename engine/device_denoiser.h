// Pipeline's way through the steps where the backend keeps the samples (denoise_batch.h): the
// latent goes to the device before the first step and comes back after the last, or when somebody
// asks for it.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <span>

#include "engine/pipeline.h"

namespace tiltshift::engine {

// A row of times for each step of a whole run, beside the prompt and beside the negative one.
struct TimeRows {
  std::span<const float> rows, negative_rows;
  size_t row_floats = 0;
};

// Owns the compiled batches of the sizes it last denoised. Used by one thread.
class DeviceDenoiser {
 public:
  explicit DeviceDenoiser(const Model::Impl& model) : model_(model) {}

  // As Pipeline::Denoise; `latent` is written when the run has ended or was stopped, and for
  // after_step.
  absl::Status Denoise(const DenoiseOptions& options, const TimeRows& times,
                       const std::function<bool()>& keep_going, std::span<float> latent);

 private:
  struct Kind {
    LatentSize size;
    int tokens = 0, forwards = 1;
    bool operator==(const Kind&) const = default;
  };
  struct Compiled {
    Kind kind;
    std::unique_ptr<DenoiseBatch> batch;
  };
  absl::StatusOr<DenoiseBatch*> BatchFor(const Kind& kind);

  const Model::Impl& model_;
  std::list<Compiled> batches_;  // most recently used first
};

}  // namespace tiltshift::engine
