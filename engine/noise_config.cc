#include <utility>

#include "engine/config_reader.h"
#include "engine/json_text.h"
#include "engine/model_config.h"

namespace tiltshift::engine {
namespace {

// The value that a word of the config stands for; another word is Unimplemented.
template <typename T>
T OneOf(ConfigReader& config, const char* field, const std::string& missing,
        std::initializer_list<std::pair<const char*, T>> words) {
  const std::string word = config.String(field, missing);
  std::string known;
  for (const auto& [name, value] : words) {
    if (word == name) return value;
    absl::StrAppend(&known, known.empty() ? "" : ", ", name);
  }
  config.Unimplemented(field, absl::StrCat("is ", Quoted(word), "; this engine has ", known));
  return words.begin()->second;
}

struct SamplerClass {
  const char* name;
  SamplerKind kind;
  bool own;  // the rule is the class's; else the nearest the engine has
};

// Solvers of the same equation come to the same picture; what stands in for one is of its kind:
// with fresh noise or without, of first order or of higher.
constexpr SamplerClass kClasses[] = {
    {"DDIMScheduler", SamplerKind::kDdim, true},
    {"EulerDiscreteScheduler", SamplerKind::kEuler, true},
    {"EulerAncestralDiscreteScheduler", SamplerKind::kEulerAncestral, true},
    {"DPMSolverMultistepScheduler", SamplerKind::kDpmpp2m, true},
    {"LCMScheduler", SamplerKind::kLcm, true},
    {"PNDMScheduler", SamplerKind::kDpmpp2m, false},
    {"LMSDiscreteScheduler", SamplerKind::kDpmpp2m, false},
    {"HeunDiscreteScheduler", SamplerKind::kDpmpp2m, false},
    {"KDPM2DiscreteScheduler", SamplerKind::kDpmpp2m, false},
    {"DEISMultistepScheduler", SamplerKind::kDpmpp2m, false},
    {"UniPCMultistepScheduler", SamplerKind::kDpmpp2m, false},
    {"DPMSolverSinglestepScheduler", SamplerKind::kDpmpp2m, false},
    {"DDPMScheduler", SamplerKind::kEulerAncestral, false},
    {"KDPM2AncestralDiscreteScheduler", SamplerKind::kEulerAncestral, false},
    {"DPMSolverSDEScheduler", SamplerKind::kEulerAncestral, false},
};

const SamplerClass* SamplerOfClass(const std::string& name) {
  for (const SamplerClass& each : kClasses) {
    if (name == each.name) return &each;
  }
  return nullptr;
}

// Options of the engine's own classes that it does not have.
void RefuseTheRest(ConfigReader& config) {
  config.Only("algorithm_type", {"dpmsolver++"});
  config.Only("interpolation_type", {"linear"});
  config.Only("lambda_min_clipped", {});
  config.Only("sigma_max", {});
  config.Only("sigma_min", {});
  config.Only("solver_order", {2});
  config.Only("solver_type", {"midpoint"});
  config.Only("thresholding", {false});
  config.Only("timestep_type", {"discrete"});
  config.Only("use_beta_sigmas", {false});
  config.Only("use_dynamic_shifting", {false});
  config.Only("use_exponential_sigmas", {false});
  config.Only("use_flow_sigmas", {false});
  config.Only("use_lu_lambdas", {false});
  config.Only("variance_type", {});
  config.Ignore({"dynamic_thresholding_ratio", "flow_shift", "sample_max_value", "skip_prk_steps",
                 "time_shift_type"});
}

}  // namespace

absl::StatusOr<NoiseConfig> ParseNoiseConfig(std::string_view json, const std::string& file,
                                             const std::string& class_name) {
  TS_ASSIGN_OR_RETURN(ConfigReader config, ConfigReader::Parse(json, file));
  NoiseConfig noise;
  noise.class_name = class_name.empty() ? config.String("_class_name", "") : class_name;
  const SamplerClass* sampler = SamplerOfClass(noise.class_name);
  if (sampler != nullptr) noise.default_sampler = sampler->kind;
  noise.train_timesteps = config.Int("num_train_timesteps", 1000, 1, 100000);
  noise.beta_start = config.Number("beta_start", 0.0001, 1e-9, 0.999);
  noise.beta_end = config.Number("beta_end", 0.02, 1e-9, 0.999);
  noise.beta_schedule = OneOf<BetaSchedule>(
      config, "beta_schedule", "linear",
      {{"linear", BetaSchedule::kLinear}, {"scaled_linear", BetaSchedule::kScaledLinear}});
  noise.prediction = OneOf<PredictionType>(config, "prediction_type", "epsilon",
                                           {{"epsilon", PredictionType::kEpsilon},
                                            {"v_prediction", PredictionType::kVPrediction},
                                            {"sample", PredictionType::kSample}});
  if (config.Has("timestep_spacing")) {
    noise.spacing = OneOf<TimestepSpacing>(config, "timestep_spacing", "",
                                           {{"leading", TimestepSpacing::kLeading},
                                            {"trailing", TimestepSpacing::kTrailing},
                                            {"linspace", TimestepSpacing::kLinspace}});
  }
  noise.steps_offset = config.Int("steps_offset", 0, 0, 100000);
  noise.set_alpha_to_one = config.Bool("set_alpha_to_one", true);
  // DDIM's own default clamps; for another class the field says nothing, and a latent is not within
  // +-1.
  const float range = static_cast<float>(config.Number("clip_sample_range", 1, 1e-3, 1e6));
  if (config.Bool("clip_sample", noise.default_sampler == SamplerKind::kDdim))
    noise.clip_sample = range;
  config.Only("trained_betas", {});
  noise.rescale_betas_zero_snr = config.Bool("rescale_betas_zero_snr", false);
  noise.use_karras_sigmas = config.Bool("use_karras_sigmas", false);
  if (noise.use_karras_sigmas && noise.default_sampler == SamplerKind::kDpmpp2m) {
    noise.default_sampler = SamplerKind::kDpmpp2mKarras;
  }

  // Of a class that is not among the engine's, only what the noise itself is counts.
  if (sampler == nullptr || !sampler->own) {
    TS_RETURN_IF_ERROR(config.status());
    return noise;
  }
  noise.final_sigma =
      OneOf<FinalSigma>(config, "final_sigmas_type", "zero",
                        {{"zero", FinalSigma::kZero}, {"sigma_min", FinalSigma::kSigmaMin}});
  noise.lower_order_final = config.Bool("lower_order_final", true);
  noise.euler_at_final = config.Bool("euler_at_final", false);
  noise.lcm_original_steps = config.Int("original_inference_steps", 50, 1, noise.train_timesteps);
  noise.lcm_timestep_scaling = static_cast<float>(config.Number("timestep_scaling", 10, 1e-3, 1e6));
  RefuseTheRest(config);
  TS_RETURN_IF_ERROR(config.Finish());
  return noise;
}

}  // namespace tiltshift::engine
