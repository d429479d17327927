// The update rules between two steps, each equal to diffusers' class of that name: DDIM (Song et
// al. 2021, eta 0), Euler and Euler ancestral (Karras et al. 2022), DPM-Solver++ 2M (Lu et al.
// 2022, midpoint) and LCM (Luo et al. 2023).
//
//   auto sampler = MakeSampler(kind, config.noise, {.steps = steps});
//   FillNormal(seed, 0, latent), times (*sampler)->initial_noise_sigma()
//   for step in 0..(*sampler)->steps()-1:
//     (*sampler)->ScaleInput(step, latent, input)
//     output = unet(input, (*sampler)->timestep(step), ...)      guidance applied
//     if (*sampler)->NeedsNoise(step): FillNormal(seed, step + 1, noise)
//     (*sampler)->Step(step, {output, noise}, {latent, history})
//
// A sampler is immutable: what a sample carries between steps is its latent, the step's number and
// `history`, so those three are a checkpoint, and slots share one sampler.
#pragma once

#include <cmath>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "engine/model_config.h"

namespace tiltshift::engine {

// What a step is made of beside the sample itself.
struct StepInputs {
  std::span<const float> output;  // the UNet's
  std::span<const float> noise;   // standard normal, as many; read only where NeedsNoise
};

// What a sample carries from step to step.
struct SampleState {
  std::span<float> latent;
  std::span<float> history;  // history_floats(); zeros before the first step
};

// latent = signal * clean latent + noise * standard normal.
struct NoiseMix {
  float signal = 1;
  float noise = 0;
};

// A step as numbers, for a backend that makes it elsewhere:
//   x0   = clamp(x0_of_latent latent + x0_of_output output, -clip, clip)
//   next = next_of_latent latent + next_of_output output + next_of_x0 x0 + next_of_history history
//          + next_of_noise noise
// x0 is the history of the step that comes.
struct StepRule {
  double x0_of_latent = 0, x0_of_output = 0, clip = INFINITY;
  double next_of_latent = 0, next_of_output = 0, next_of_x0 = 0;
  double next_of_history = 0;
  double next_of_noise = 0;
};

class Sampler {
 public:
  virtual ~Sampler() = default;

  // Steps of this run: fewer than were asked for where it begins at a picture.
  int steps() const { return static_cast<int>(timesteps_.size()); }
  // What the UNet's time embedding takes; Euler's may lie between two training timesteps.
  float timestep(int step) const { return timesteps_[step]; }
  // The initial latent of a run from pure noise is standard normal noise times this.
  float initial_noise_sigma() const { return initial_noise_sigma_; }
  // What a latent is made of at `step`: a run that begins at a picture starts from MixAt(0) of it.
  virtual NoiseMix MixAt(int step) const = 0;
  // Floats of history a latent of that many floats needs: as many or none.
  virtual size_t history_floats(size_t latent_floats) const { return 0; }
  // Whether Step adds fresh noise at this step.
  virtual bool NeedsNoise(int step) const { return false; }

  // What the UNet sees of the latent at this step; `input` may be `latent` itself.
  virtual void ScaleInput(int step, std::span<const float> latent, std::span<float> input) const;
  // The same as a factor.
  virtual double InputFactor(int step) const { return 1; }

  // Moves the latent from `step` to the next. Steps of one sample go in order from 0. Allocates
  // nothing.
  virtual void Step(int step, const StepInputs& inputs, const SampleState& sample) const = 0;
  // The same, up to rounding.
  virtual StepRule RuleAt(int step) const = 0;

 protected:
  std::vector<float> timesteps_;
  float initial_noise_sigma_ = 1;
};

struct SamplerOptions {
  int steps = 20;
  // Of the way from noise to picture, the part that is left: 1 begins at noise, less at a picture
  // to which noise is added. As in diffusers' pipelines, floor(steps * strength) of the steps are
  // made; LCM, as in its own, makes all of them over a shorter way.
  double strength = 1;
};

// kModelDefault takes the config's own. InvalidArgument: `steps` outside 1..train_timesteps (DPM++
// leading and linspace: one less; LCM: original_inference_steps), a strength that leaves no step,
// spacing that leaves the training range, betas that leave no signal, or a prediction type that the
// rule does not know; Unimplemented: the model's default is a class that the engine has no rule for
// (the message says what to write).
absl::StatusOr<std::unique_ptr<const Sampler>> MakeSampler(SamplerKind kind,
                                                           const NoiseConfig& config,
                                                           const SamplerOptions& options);

}  // namespace tiltshift::engine
