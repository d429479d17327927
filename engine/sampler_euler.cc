// The rules that take one Euler step from sigma to sigma, with and without fresh noise.
#include "engine/sampler_rules.h"

namespace tiltshift::engine {
namespace {

// Karras et al. 2022, algorithm 1 without the correction: one step along dx/dsigma = (x - x0) /
// sigma. The latent is clean + sigma * noise, and the UNet sees it scaled to variance 1.
class Euler : public Sampler {
 public:
  Euler(const NoiseConfig& config, const Run& run)
      : prediction_(config.prediction), sigmas_(run.sigmas) {
    timesteps_.assign(run.timesteps.begin(), run.timesteps.end());
    initial_noise_sigma_ = run.initial_noise_sigma;
  }

  NoiseMix MixAt(int step) const override { return {1, sigmas_[step]}; }

  void ScaleInput(int step, std::span<const float> latent, std::span<float> input) const override {
    const float scale = std::sqrt(sigmas_[step] * sigmas_[step] + 1.0f);
    for (size_t i = 0; i < latent.size(); ++i) input[i] = latent[i] / scale;
  }

  double InputFactor(int step) const override {
    const double sigma = sigmas_[step];
    return 1 / std::sqrt(sigma * sigma + 1);
  }

  void Step(int step, const StepInputs& inputs, const SampleState& sample) const override {
    StepTo(step, sigmas_[step + 1], inputs, sample);
  }
  StepRule RuleAt(int step) const override { return RuleTo(step, sigmas_[step + 1]); }

 protected:
  // x0 is folded in: next = x + (x - x0) / sigma * change.
  StepRule RuleTo(int step, double to) const {
    const double sigma = sigmas_[step], share = (to - sigma) / sigma;
    const double variance = sigma * sigma + 1;
    const Factors x0 = prediction_ == PredictionType::kEpsilon ? Factors{1, -sigma}
                       : prediction_ == PredictionType::kSample
                           ? Factors{0, 1}
                           : Factors{1 / variance, -sigma / std::sqrt(variance)};
    return {.next_of_latent = 1 + share * (1 - x0.of_latent),
            .next_of_output = -share * x0.of_output};
  }

  void StepTo(int step, float to, const StepInputs& inputs, const SampleState& sample) const {
    const float sigma = sigmas_[step];
    const float change = to - sigma;
    const float variance = sigma * sigma + 1.0f;
    const float c_out = -sigma / std::sqrt(variance);
    for (size_t i = 0; i < sample.latent.size(); ++i) {
      const float x = sample.latent[i], out = inputs.output[i];
      const float x0 = prediction_ == PredictionType::kEpsilon  ? x - sigma * out
                       : prediction_ == PredictionType::kSample ? out
                                                                : out * c_out + x / variance;
      sample.latent[i] = x + (x - x0) / sigma * change;
    }
  }

  PredictionType prediction_;
  std::vector<float> sigmas_;  // [steps + 1]
};

// The same step taken farther, to sigma_down, and back with fresh noise of sigma_up, so that the
// variances add up to the next sigma's.
class EulerAncestral final : public Euler {
 public:
  using Euler::Euler;

  bool NeedsNoise(int step) const override { return sigmas_[step + 1] > 0; }

  void Step(int step, const StepInputs& inputs, const SampleState& sample) const override {
    const float to = sigmas_[step + 1], up = Up(step);
    StepTo(step, std::sqrt(to * to - up * up), inputs, sample);
    if (!NeedsNoise(step)) return;
    for (size_t i = 0; i < sample.latent.size(); ++i) sample.latent[i] += inputs.noise[i] * up;
  }

  StepRule RuleAt(int step) const override {
    const float to = sigmas_[step + 1], up = Up(step);
    StepRule rule = RuleTo(step, std::sqrt(to * to - up * up));
    rule.next_of_noise = up;
    return rule;
  }

 private:
  float Up(int step) const {
    const float from = sigmas_[step], to = sigmas_[step + 1];
    return std::sqrt(to * to * (from * from - to * to) / (from * from));
  }
};

}  // namespace

std::unique_ptr<const Sampler> MakeEuler(const NoiseConfig& config, const Run& run) {
  return std::make_unique<Euler>(config, run);
}

std::unique_ptr<const Sampler> MakeEulerAncestral(const NoiseConfig& config, const Run& run) {
  return std::make_unique<EulerAncestral>(config, run);
}

}  // namespace tiltshift::engine
