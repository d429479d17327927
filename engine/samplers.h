// The update rules between two steps: DDIM (Song et al. 2021, eta 0), Euler (Karras et al. 2022,
// algorithm 1 without churn) and DPM-Solver++ 2M (Lu et al. 2022, midpoint), each equal to
// diffusers' class of that name.
//
//   auto sampler = MakeSampler(kind, config.noise, steps);
//   FillNormal(seed, 0, latent), times (*sampler)->initial_noise_sigma()
//   for step in 0..(*sampler)->steps()-1:
//     (*sampler)->ScaleInput(step, latent, input)
//     output = unet(input, (*sampler)->timestep(step), ...)      guidance applied
//     (*sampler)->Step(step, output, latent, history)
//
// A sampler is immutable: what a sample carries between steps is its latent, the step's number and
// `history`, so those three are a checkpoint, and slots share one sampler.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "engine/model_config.h"

namespace tiltshift::engine {

class Sampler {
 public:
  virtual ~Sampler() = default;

  int steps() const { return static_cast<int>(timesteps_.size()); }
  // What the UNet's time embedding takes; Euler's may lie between two training timesteps.
  float timestep(int step) const { return timesteps_[step]; }
  // The initial latent is standard normal noise times this.
  float initial_noise_sigma() const { return initial_noise_sigma_; }
  // Floats of history a latent of that many floats needs: as many or none. Starts as zeros.
  virtual size_t history_floats(size_t latent_floats) const { return 0; }

  // What the UNet sees of the latent at this step; `input` may be `latent` itself.
  virtual void ScaleInput(int step, std::span<const float> latent, std::span<float> input) const;

  // Moves `latent` from `step` to the next, given the UNet's output for it. Steps of one sample go
  // in order from 0; `history` has history_floats() and belongs to that sample. Allocates nothing.
  virtual void Step(int step, std::span<const float> output, std::span<float> latent,
                    std::span<float> history) const = 0;

 protected:
  std::vector<float> timesteps_;
  float initial_noise_sigma_ = 1;
};

// kModelDefault takes the config's own. InvalidArgument: `steps` outside 1..train_timesteps (DPM++
// leading and linspace: one less), spacing that leaves the training range, or betas that leave no
// signal; Unimplemented: the model's default is a class that the engine does not have (the message
// says what to write).
absl::StatusOr<std::unique_ptr<const Sampler>> MakeSampler(SamplerKind kind,
                                                           const NoiseConfig& config, int steps);

}  // namespace tiltshift::engine
