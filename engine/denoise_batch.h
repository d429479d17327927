// Samples that a backend denoises together, in its own memory: latents, histories and the UNet's
// inputs stay there from a run's first step to its last, and the sampler's update is made where
// they are.
//
//   batch->Begin(place, run)              a sample joins, whatever step the others are at
//   batch->Step()                         every sample with steps left is put one further; returns
//   before it is made batch->Read(place, latent, history)   waits for it
//
// I4: a sample's run decides its bits, whatever its place, its neighbours and the places' number.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/status.h"
#include "engine/graph.h"
#include "engine/samplers.h"

namespace tiltshift::engine {

class Buffer;

// What a batch is compiled from: a denoising graph whose ends are rows.
struct DenoiseBatchShape {
  const Graph* graph = nullptr;
  Value input;    // written, an activation; the latent's channels come first
  Value time;     // written, an fp32 row
  Value context;  // bound
  Value output;   // read, fp32 rows of the latent's channels
  int samples = 1;
  int forwards = 1;  // of a sample's step, at most 3
};

// A step of a sample, worked out before.
struct SampleStep {
  StepRule rule;
  uint32_t noise_stream = 0;  // FillNormal's
  double next_input_factor = 1;
  NoiseMix kept;  // what a mask keeps has this mix afterwards
};
SampleStep SampleStepOf(const Sampler& sampler, int step);

// One of a sample's forwards.
struct SampleForward {
  const Buffer* context = nullptr;
  std::span<const float> times;  // a row for each step of the run
  bool blank = false;            // zeros are where `extra` is
};

// All that is left of a sample's way. Spans are read by Begin alone; contexts must live until the
// last step.
struct SampleRun {
  std::span<const SampleStep> steps;
  std::span<const float> latent;   // planar
  std::span<const float> history;  // of the step before; empty: none was made
  float input_factor = 1;          // of the first step
  std::span<const float> extra;    // planar, the input channels behind the latent's
  // 1: with text; 2: and without; 3: with text and extra, with extra alone, with neither.
  std::array<SampleForward, 3> forwards;
  int forward_count = 1;
  float guidance_scale = 1, picture_guidance_scale = 1;
  uint64_t seed = 0;
  // Where the mask is 0, the latent after each step is the step's mix of clean and noise. Empty: no
  // mask.
  std::span<const float> mask, clean, noise;
};

// Used by one thread.
class DenoiseBatch {
 public:
  virtual ~DenoiseBatch() = default;
  // The place's last run, if it has not ended, is dropped. ResourceExhausted: a run of so many
  // steps does not fit.
  virtual absl::Status Begin(int place, const SampleRun& run) = 0;
  // Waits for the step before the last one, so that whoever asks between steps is asked in time.
  virtual absl::Status Step() = 0;
  // `history` may be empty.
  virtual absl::Status Read(int place, std::span<float> latent, std::span<float> history) = 0;
};

}  // namespace tiltshift::engine
