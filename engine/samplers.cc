#include "engine/samplers.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "engine/json_text.h"
#include "engine/noise_schedule.h"

namespace tiltshift::engine {
namespace {

// sigma in the scaling where signal^2 + noise^2 = 1.
struct AlphaSigma {
  float alpha, sigma;
};

AlphaSigma VariancePreserving(float sigma) {
  const float alpha = 1.0f / std::sqrt(sigma * sigma + 1.0f);
  return {alpha, sigma * alpha};
}

float Lambda(AlphaSigma s) { return std::log(s.alpha) - std::log(s.sigma); }

// x0 and eps of x = alpha x0 + sigma eps, from what the model says of it.
float PredictX0(PredictionType prediction, float x, float output, AlphaSigma at) {
  switch (prediction) {
    case PredictionType::kSample:
      return output;
    case PredictionType::kVPrediction:
      return at.alpha * x - at.sigma * output;
    default:
      return (x - at.sigma * output) / at.alpha;
  }
}

float PredictEps(PredictionType prediction, float x, float output, AlphaSigma at) {
  switch (prediction) {
    case PredictionType::kSample:
      return (x - at.alpha * output) / at.sigma;
    case PredictionType::kVPrediction:
      return at.alpha * output + at.sigma * x;
    default:
      return output;
  }
}

// The sigmas of a run's timesteps, and the one it ends at.
std::vector<float> RunSigmas(const NoiseConfig& config, const std::vector<double>& timesteps) {
  const std::vector<float> table = Sigmas(AlphasCumprod(config));
  std::vector<float> sigmas;
  for (double t : timesteps) {
    // diffusers holds Euler's fractional timesteps in fp32; whole ones are exact in it.
    sigmas.push_back(static_cast<float>(Interpolate(table, static_cast<float>(t))));
  }
  sigmas.push_back(config.final_sigma == FinalSigma::kZero ? 0 : table[0]);
  return sigmas;
}

// Song et al. 2021, equation 12 with sigma = 0.
class Ddim final : public Sampler {
 public:
  Ddim(const NoiseConfig& config, const std::vector<double>& timesteps)
      : prediction_(config.prediction), clip_(config.clip_sample) {
    timesteps_.assign(timesteps.begin(), timesteps.end());
    const std::vector<float> alphas = AlphasCumprod(config);
    const float last = config.set_alpha_to_one ? 1.0f : alphas[0];
    const int stride = config.train_timesteps / static_cast<int>(timesteps.size());
    for (double t : timesteps) {
      const int before = static_cast<int>(t) - stride;
      const float a = alphas[static_cast<int>(t)];
      const float a_before = before >= 0 ? alphas[before] : last;
      at_.push_back(
          {{std::sqrt(a), std::sqrt(1.0f - a)}, {std::sqrt(a_before), std::sqrt(1.0f - a_before)}});
    }
  }

  void Step(int step, std::span<const float> output, std::span<float> latent,
            std::span<float> history) const override {
    const At c = at_[step];
    for (size_t i = 0; i < latent.size(); ++i) {
      const float x = latent[i], out = output[i];
      const float eps = PredictEps(prediction_, x, out, c.here);
      float x0 = PredictX0(prediction_, x, out, c.here);
      if (clip_) x0 = std::clamp(x0, -*clip_, *clip_);
      latent[i] = c.before.alpha * x0 + c.before.sigma * eps;
    }
  }

 private:
  // sqrt(abar), sqrt(1 - abar) at a timestep and at the one it leads to.
  struct At {
    AlphaSigma here, before;
  };
  PredictionType prediction_;
  std::optional<float> clip_;
  std::vector<At> at_;
};

// Karras et al. 2022, algorithm 1 without the correction: one step along dx/dsigma = (x - x0) /
// sigma.
class Euler final : public Sampler {
 public:
  Euler(const NoiseConfig& config, TimestepSpacing spacing, const std::vector<double>& timesteps)
      : prediction_(config.prediction), sigmas_(RunSigmas(config, timesteps)) {
    timesteps_.assign(timesteps.begin(), timesteps.end());
    const float largest = *std::max_element(sigmas_.begin(), sigmas_.end());
    initial_noise_sigma_ =
        spacing == TimestepSpacing::kLeading ? std::sqrt(largest * largest + 1.0f) : largest;
  }

  void ScaleInput(int step, std::span<const float> latent, std::span<float> input) const override {
    const float scale = std::sqrt(sigmas_[step] * sigmas_[step] + 1.0f);
    for (size_t i = 0; i < latent.size(); ++i) input[i] = latent[i] / scale;
  }

  void Step(int step, std::span<const float> output, std::span<float> latent,
            std::span<float> history) const override {
    const float sigma = sigmas_[step];
    const float change = sigmas_[step + 1] - sigma;
    const float variance = sigma * sigma + 1.0f;
    const float c_out = -sigma / std::sqrt(variance);
    for (size_t i = 0; i < latent.size(); ++i) {
      const float x = latent[i], out = output[i];
      const float x0 = prediction_ == PredictionType::kEpsilon  ? x - sigma * out
                       : prediction_ == PredictionType::kSample ? out
                                                                : out * c_out + x / variance;
      latent[i] = x + (x - x0) / sigma * change;
    }
  }

 private:
  PredictionType prediction_;
  std::vector<float> sigmas_;  // [steps + 1]
};

// Lu et al. 2022, algorithm 2 (2M) with the midpoint form; history is the x0 of the step before.
class Dpmpp2m final : public Sampler {
 public:
  Dpmpp2m(const NoiseConfig& config, const std::vector<double>& timesteps)
      : prediction_(config.prediction) {
    timesteps_.assign(timesteps.begin(), timesteps.end());
    const std::vector<float> sigmas = RunSigmas(config, timesteps);
    const int n = steps();
    const bool last_is_first_order = config.euler_at_final ||
                                     (config.lower_order_final && n < 15) ||
                                     config.final_sigma == FinalSigma::kZero;
    for (int step = 0; step < n; ++step) {
      const AlphaSigma to = VariancePreserving(sigmas[step + 1]),
                       from = VariancePreserving(sigmas[step]);
      const float h = Lambda(to) - Lambda(from);
      At at{from, to.sigma / from.sigma, to.alpha * (std::exp(-h) - 1.0f), 0};
      if (step > 0 && !(step == n - 1 && last_is_first_order)) {
        const float h_before = Lambda(from) - Lambda(VariancePreserving(sigmas[step - 1]));
        at.inverse_ratio = 1.0f / (h_before / h);
      }
      at_.push_back(at);
    }
  }

  size_t history_floats(size_t latent_floats) const override { return latent_floats; }

  void Step(int step, std::span<const float> output, std::span<float> latent,
            std::span<float> history) const override {
    TS_CHECK(history.size() == latent.size());
    const At c = at_[step];
    const float half_weight = 0.5f * c.weight;
    for (size_t i = 0; i < latent.size(); ++i) {
      const float x = latent[i], out = output[i];
      const float x0 = PredictX0(prediction_, x, out, c.here);
      float next = c.shrink * x - c.weight * x0;
      if (c.inverse_ratio != 0) next -= half_weight * (c.inverse_ratio * (x0 - history[i]));
      latent[i] = next;
      history[i] = x0;
    }
  }

 private:
  struct At {
    AlphaSigma here;
    float shrink, weight;  // sigma_t / sigma_s, and alpha_t (e^-h - 1)
    float inverse_ratio;   // h / h_before; 0 where the step is of first order
  };
  PredictionType prediction_;
  std::vector<At> at_;
};

}  // namespace

void Sampler::ScaleInput(int step, std::span<const float> latent, std::span<float> input) const {
  if (input.data() != latent.data()) std::copy(latent.begin(), latent.end(), input.begin());
}

absl::StatusOr<std::unique_ptr<const Sampler>> MakeSampler(SamplerKind kind,
                                                           const NoiseConfig& config, int steps) {
  if (kind == SamplerKind::kModelDefault) {
    if (!config.default_sampler) {
      return absl::UnimplementedError(absl::StrCat(
          "the model's own sampler, ", Quoted(config.class_name),
          ", is not one of this engine's: set render.sampler to ddim, euler or dpmpp_2m"));
    }
    kind = *config.default_sampler;
  }
  // Beyond this, sigma^2 + 1 and its inverse leave fp32.
  if (!(AlphasCumprod(config).back() > 1e-30f)) {
    return absl::InvalidArgumentError(
        "the model's scheduler config: beta_start, beta_end and num_train_timesteps leave no "
        "signal at the end");
  }
  const TimestepSpacing spacing = config.spacing.value_or(
      kind == SamplerKind::kDdim ? TimestepSpacing::kLeading : TimestepSpacing::kLinspace);
  TS_ASSIGN_OR_RETURN(const std::vector<double> timesteps,
                      Timesteps(config, {.spacing = spacing,
                                         .steps = steps,
                                         .whole = kind != SamplerKind::kEuler,
                                         .drop_last = kind == SamplerKind::kDpmpp2m}));
  switch (kind) {
    case SamplerKind::kEuler:
      return std::make_unique<Euler>(config, spacing, timesteps);
    case SamplerKind::kDpmpp2m:
      return std::make_unique<Dpmpp2m>(config, timesteps);
    default:
      return std::make_unique<Ddim>(config, timesteps);
  }
}

}  // namespace tiltshift::engine
