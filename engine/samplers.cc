#include "engine/samplers.h"

#include <algorithm>
#include <cmath>

#include "engine/json_text.h"
#include "engine/noise_schedule.h"
#include "engine/sampler_rules.h"

namespace tiltshift::engine {
namespace {

bool OverSigmas(SamplerKind kind) {
  return kind != SamplerKind::kDdim && kind != SamplerKind::kLcm;
}

bool IsEuler(SamplerKind kind) {
  return kind == SamplerKind::kEuler || kind == SamplerKind::kEulerAncestral;
}

bool IsKarras(SamplerKind kind, const NoiseConfig& config) {
  return kind == SamplerKind::kDpmpp2mKarras ||
         (kind == SamplerKind::kEuler && config.use_karras_sigmas);
}

// Each class's own, where the config says nothing.
TimestepSpacing SpacingOf(SamplerKind kind, const NoiseConfig& config) {
  return config.spacing.value_or(OverSigmas(kind) ? TimestepSpacing::kLinspace
                                                  : TimestepSpacing::kLeading);
}

// Sigmas of all steps, and the one they end at. Karras' are their own, and the timesteps follow
// from them.
std::vector<float> RunSigmas(SamplerKind kind, const NoiseConfig& config,
                             std::vector<double>* timesteps) {
  const std::vector<float> table = Sigmas(config);
  std::vector<double> sigmas;
  // diffusers holds Euler's fractional timesteps in fp32; whole ones are exact in it.
  for (double t : *timesteps) sigmas.push_back(Interpolate(table, static_cast<float>(t)));
  if (IsKarras(kind, config)) {
    const bool whole = !IsEuler(kind);
    const KarrasRange range = whole ? KarrasRange{table.back(), table.front()}
                                    : KarrasRange{sigmas.front(), sigmas.back()};
    sigmas = KarrasSigmas(range, static_cast<int>(sigmas.size()));
    for (size_t i = 0; i < sigmas.size(); ++i) {
      const double t = TimestepOf(table, sigmas[i]);
      (*timesteps)[i] = whole ? std::nearbyint(t) : t;
    }
  }
  std::vector<float> floats(sigmas.begin(), sigmas.end());
  const bool zero = config.final_sigma == FinalSigma::kZero || kind == SamplerKind::kEulerAncestral;
  floats.push_back(zero ? 0 : table[0]);
  return floats;
}

absl::StatusOr<Run> MakeRun(SamplerKind kind, const NoiseConfig& config,
                            const SamplerOptions& options) {
  Run run;
  run.whole_steps = options.steps;
  if (kind == SamplerKind::kLcm) {
    TS_ASSIGN_OR_RETURN(run.timesteps, LcmTimesteps(config, options.steps, options.strength));
    return run;
  }
  // Karras' sigmas give DPM++ its timesteps: here only their number counts.
  const bool only_count = kind == SamplerKind::kDpmpp2mKarras;
  const TimestepSpacing spacing = only_count ? TimestepSpacing::kTrailing : SpacingOf(kind, config);
  TS_ASSIGN_OR_RETURN(run.timesteps,
                      Timesteps(config, {.spacing = spacing,
                                         .steps = options.steps,
                                         .whole = !IsEuler(kind),
                                         .drop_last = kind == SamplerKind::kDpmpp2m}));
  if (OverSigmas(kind)) {
    run.sigmas = RunSigmas(kind, config, &run.timesteps);
    const float largest = *std::max_element(run.sigmas.begin(), run.sigmas.end());
    if (IsEuler(kind)) {
      run.initial_noise_sigma =
          spacing == TimestepSpacing::kLeading ? std::sqrt(largest * largest + 1.0f) : largest;
    }
  }
  const int left = std::min(static_cast<int>(options.steps * options.strength), options.steps);
  if (left < 1) {
    return absl::InvalidArgumentError(absl::StrCat("strength ", options.strength,
                                                   " leaves none of ", options.steps,
                                                   " steps to make; ask for more of either"));
  }
  const int first = options.steps - left;
  run.timesteps.erase(run.timesteps.begin(), run.timesteps.begin() + first);
  if (OverSigmas(kind)) run.sigmas.erase(run.sigmas.begin(), run.sigmas.begin() + first);
  return run;
}

absl::Status CheckSignal(SamplerKind kind, const NoiseConfig& config, const Run& run) {
  const std::vector<float> alphas = AlphasCumprod(config);
  // Beyond this, sigma^2 + 1 and its inverse leave fp32. A zero that is meant is the last one
  // alone.
  const size_t last = alphas.size() - 1;
  if (!(alphas[config.rescale_betas_zero_snr ? std::max<size_t>(last, 1) - 1 : last] > 1e-30f)) {
    return absl::InvalidArgumentError(
        "the model's scheduler config: beta_start, beta_end and num_train_timesteps leave no "
        "signal at the end");
  }
  const bool from_nothing = !OverSigmas(kind) && !(alphas[static_cast<int>(run.timesteps[0])] > 0);
  if (from_nothing && config.prediction == PredictionType::kEpsilon) {
    return absl::InvalidArgumentError(
        "the model predicts epsilon and its schedule begins without signal "
        "(rescale_betas_zero_snr): ddim and lcm "
        "cannot begin there; set render.sampler to euler or dpmpp_2m");
  }
  if (kind == SamplerKind::kEulerAncestral && config.prediction == PredictionType::kSample) {
    return absl::InvalidArgumentError(
        "euler_a is not defined for a model with prediction_type sample; set render.sampler to "
        "euler or dpmpp_2m");
  }
  return absl::OkStatus();
}

}  // namespace

void Sampler::ScaleInput(int step, std::span<const float> latent, std::span<float> input) const {
  if (input.data() != latent.data()) std::copy(latent.begin(), latent.end(), input.begin());
}

absl::StatusOr<std::unique_ptr<const Sampler>> MakeSampler(SamplerKind kind,
                                                           const NoiseConfig& config,
                                                           const SamplerOptions& options) {
  if (kind == SamplerKind::kModelDefault) {
    if (!config.default_sampler) {
      return absl::UnimplementedError(absl::StrCat(
          "the model's own sampler, ", Quoted(config.class_name),
          ", is not one of this engine's: set render.sampler to ddim, euler, euler_a, dpmpp_2m, "
          "dpmpp_2m_karras or lcm"));
    }
    kind = *config.default_sampler;
  }
  if (!(options.strength > 0 && options.strength <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("strength is ", options.strength, "; it must be above 0 and at most 1"));
  }
  TS_ASSIGN_OR_RETURN(const Run run, MakeRun(kind, config, options));
  TS_RETURN_IF_ERROR(CheckSignal(kind, config, run));
  switch (kind) {
    case SamplerKind::kEuler:
      return MakeEuler(config, run);
    case SamplerKind::kEulerAncestral:
      return MakeEulerAncestral(config, run);
    case SamplerKind::kDpmpp2m:
    case SamplerKind::kDpmpp2mKarras:
      return MakeDpmpp2m(config, run);
    case SamplerKind::kLcm:
      return MakeLcm(config, run);
    default:
      return MakeDdim(config, run);
  }
}

}  // namespace tiltshift::engine
