// The rules that go from alpha to alpha: DDIM and LCM.
#include <algorithm>

#include "engine/noise_schedule.h"
#include "engine/sampler_rules.h"

namespace tiltshift::engine {
namespace {

AlphaSigma FromCumprod(float a) { return {std::sqrt(a), std::sqrt(1.0f - a)}; }

// Song et al. 2021, equation 12 with sigma = 0.
class Ddim final : public Sampler {
 public:
  Ddim(const NoiseConfig& config, const Run& run)
      : prediction_(config.prediction), clip_(config.clip_sample) {
    timesteps_.assign(run.timesteps.begin(), run.timesteps.end());
    const std::vector<float> alphas = AlphasCumprod(config);
    const float last = config.set_alpha_to_one ? 1.0f : alphas[0];
    const int stride = config.train_timesteps / run.whole_steps;
    for (double t : run.timesteps) {
      const int before = static_cast<int>(t) - stride;
      const float a = alphas[static_cast<int>(t)];
      at_.push_back({FromCumprod(a), FromCumprod(before >= 0 ? alphas[before] : last)});
    }
  }

  NoiseMix MixAt(int step) const override { return {at_[step].here.alpha, at_[step].here.sigma}; }

  void Step(int step, const StepInputs& inputs, const SampleState& sample) const override {
    const At c = at_[step];
    for (size_t i = 0; i < sample.latent.size(); ++i) {
      const float x = sample.latent[i], out = inputs.output[i];
      const float eps = PredictEps(prediction_, x, out, c.here);
      float x0 = PredictX0(prediction_, x, out, c.here);
      if (clip_) x0 = std::clamp(x0, -*clip_, *clip_);
      sample.latent[i] = c.before.alpha * x0 + c.before.sigma * eps;
    }
  }

  StepRule RuleAt(int step) const override {
    const At c = at_[step];
    const Factors x0 = X0Factors(prediction_, c.here), eps = EpsFactors(prediction_, c.here);
    return {.x0_of_latent = x0.of_latent,
            .x0_of_output = x0.of_output,
            .clip = clip_.value_or(INFINITY),
            .next_of_latent = c.before.sigma * eps.of_latent,
            .next_of_output = c.before.sigma * eps.of_output,
            .next_of_x0 = c.before.alpha};
  }

 private:
  // At a timestep, and at the one it leads to.
  struct At {
    AlphaSigma here, before;
  };
  PredictionType prediction_;
  std::optional<float> clip_;
  std::vector<At> at_;
};

// Luo et al. 2023: each step jumps to the end, by the boundary condition c_skip x + c_out x0, and
// goes back with fresh noise to where the next begins.
class Lcm final : public Sampler {
 public:
  Lcm(const NoiseConfig& config, const Run& run)
      : prediction_(config.prediction), clip_(config.clip_sample) {
    timesteps_.assign(run.timesteps.begin(), run.timesteps.end());
    const std::vector<float> alphas = AlphasCumprod(config);
    const int n = steps();
    for (int step = 0; step < n; ++step) {
      const int t = static_cast<int>(run.timesteps[step]);
      const int next = static_cast<int>(run.timesteps[std::min(step + 1, n - 1)]);
      constexpr float kSigmaData = 0.5f;
      const float scaled = static_cast<float>(t) * config.lcm_timestep_scaling;
      const float variance = scaled * scaled + kSigmaData * kSigmaData;
      at_.push_back({FromCumprod(alphas[t]), FromCumprod(alphas[next]),
                     kSigmaData * kSigmaData / variance, scaled / std::sqrt(variance)});
    }
  }

  NoiseMix MixAt(int step) const override { return {at_[step].here.alpha, at_[step].here.sigma}; }
  bool NeedsNoise(int step) const override { return step + 1 < steps(); }

  void Step(int step, const StepInputs& inputs, const SampleState& sample) const override {
    const At c = at_[step];
    const bool noisy = NeedsNoise(step);
    for (size_t i = 0; i < sample.latent.size(); ++i) {
      const float x = sample.latent[i];
      float x0 = PredictX0(prediction_, x, inputs.output[i], c.here);
      if (clip_) x0 = std::clamp(x0, -*clip_, *clip_);
      const float end = c.out * x0 + c.skip * x;
      sample.latent[i] = noisy ? c.next.alpha * end + c.next.sigma * inputs.noise[i] : end;
    }
  }

  StepRule RuleAt(int step) const override {
    const At c = at_[step];
    const Factors x0 = X0Factors(prediction_, c.here);
    const double to = NeedsNoise(step) ? c.next.alpha : 1;
    return {.x0_of_latent = x0.of_latent,
            .x0_of_output = x0.of_output,
            .clip = clip_.value_or(INFINITY),
            .next_of_latent = to * c.skip,
            .next_of_x0 = to * c.out,
            .next_of_noise = NeedsNoise(step) ? c.next.sigma : 0};
  }

 private:
  struct At {
    AlphaSigma here, next;
    float skip, out;
  };
  PredictionType prediction_;
  std::optional<float> clip_;
  std::vector<At> at_;
};

}  // namespace

std::unique_ptr<const Sampler> MakeDdim(const NoiseConfig& config, const Run& run) {
  return std::make_unique<Ddim>(config, run);
}

std::unique_ptr<const Sampler> MakeLcm(const NoiseConfig& config, const Run& run) {
  return std::make_unique<Lcm>(config, run);
}

}  // namespace tiltshift::engine
