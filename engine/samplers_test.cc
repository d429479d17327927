// Against diffusers: testdata/sampler_goldens.json, made by tests/goldens/make_sampler_goldens.py.
#include "engine/samplers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/file.h"
#include "engine/noise_schedule.h"
#include "nlohmann/json.hpp"

namespace tiltshift::engine {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr int kLatent = 4;

struct Named {
  const char* name;
  SamplerKind kind;
  const char* class_name;
};
constexpr Named kSamplers[] = {
    {"ddim", SamplerKind::kDdim, "DDIMScheduler"},
    {"euler", SamplerKind::kEuler, "EulerDiscreteScheduler"},
    {"euler_a", SamplerKind::kEulerAncestral, "EulerAncestralDiscreteScheduler"},
    {"dpmpp_2m", SamplerKind::kDpmpp2m, "DPMSolverMultistepScheduler"},
    {"dpmpp_2m_karras", SamplerKind::kDpmpp2mKarras, "DPMSolverMultistepScheduler"},
    {"lcm", SamplerKind::kLcm, "LCMScheduler"}};

const Named& Find(const std::string& name) {
  for (const Named& each : kSamplers) {
    if (name == each.name) return each;
  }
  ADD_FAILURE() << "no sampler " << name;
  return kSamplers[0];
}

NoiseConfig Config(const std::string& text, const Named& sampler) {
  auto config = ParseNoiseConfig(text, "scheduler_config.json", sampler.class_name);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : NoiseConfig{};
}

// The recipe's model: a fixed function of what the sampler shows it.
std::vector<float> Model(const Sampler& sampler, int step, const std::vector<float>& latent) {
  std::vector<float> output(latent.size());
  sampler.ScaleInput(step, latent, output);
  for (float& v : output) v = 0.9f * std::tanh(v) + 0.1f * std::sin(sampler.timestep(step) / 100);
  return output;
}

// The recipe's noise.
std::vector<float> Draw(int number) {
  std::vector<float> values(kLatent);
  for (int i = 0; i < kLatent; ++i) {
    values[i] = static_cast<float>(std::sin(1.7 * i + 2.3 * number + 0.3) * 1.5);
  }
  return values;
}

std::vector<float> Mix(const NoiseMix& mix) {
  std::vector<float> latent = Draw(0);
  for (int i = 0; i < kLatent; ++i) {
    latent[i] = mix.signal * (-1 + 2.0f * i / (kLatent - 1)) + mix.noise * latent[i];
  }
  return latent;
}

std::vector<float> InitialLatent(const Sampler& sampler) {
  std::vector<float> latent = Draw(0);
  for (float& value : latent) value *= sampler.initial_noise_sigma();
  return latent;
}

// `size`: what the norm counts as at least. A latent that fresh noise has brought near zero is
// still a sum of parts that were not.
double RelativeL2(const std::vector<float>& got, const json& want, double size = 0) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double w = want[i].get<double>();
    difference += (got[i] - w) * (got[i] - w);
    norm += w * w;
  }
  return std::sqrt(difference / std::max(norm, size * size));
}

json Goldens() {
  auto text = ReadFile(TILTSHIFT_SOURCE_DIR "/engine/testdata/sampler_goldens.json");
  EXPECT_TRUE(text.ok()) << text.status();
  return json::parse(*text);
}

// The two computations round alike except for torch's linspace, log and exp, which differ in the
// last bits from machine to machine: 2^-23 each, grown by h = lambda - lambda' (lambda up to 5, h
// down to 0.02) and by the steps.
double Tolerance(int steps) { return 2e-6 * std::max(1.0, steps / 20.0); }

// A last timestep without signal has sigma 4096: what fp32 leaves of x - sigma * output is that
// much less.
double Tolerance(int steps, const NoiseConfig& config) {
  return Tolerance(steps) * (config.rescale_betas_zero_snr ? 50 : 1);
}

// Gives the error after the worst step.
double RunAsGolden(const Sampler& sampler, const json& golden, double tolerance) {
  std::vector<float> latent =
      golden["strength"].get<double>() < 1 ? Mix(sampler.MixAt(0)) : InitialLatent(sampler);
  std::vector<float> history(sampler.history_floats(latent.size()));
  double worst = 0;
  for (int step = 0; step < sampler.steps(); ++step) {
    const std::vector<float> noise = Draw(step + 1);
    sampler.Step(step, {Model(sampler, step, latent), noise}, {latent, history});
    const NoiseMix mix = sampler.MixAt(step);
    const double size = std::sqrt(kLatent) * std::hypot(mix.signal, mix.noise);
    const double error = RelativeL2(latent, golden["latents"][step], size);
    EXPECT_LT(error, tolerance) << "after step " << step;
    worst = std::max(worst, error);
  }
  return worst;
}

TEST(Samplers, EqualDiffusersAfterEveryStep) {
  double worst = 0;
  const json goldens = Goldens();
  ASSERT_GT(goldens.size(), 200u);
  for (const json& golden : goldens) {
    const Named& named = Find(golden["sampler"]);
    const int steps = golden["steps"];
    const double strength = golden["strength"];
    SCOPED_TRACE(absl::StrCat(named.name, " ", steps, " steps, strength ", strength, " ",
                              golden["config"].dump()));
    const NoiseConfig config = Config(golden["config"].dump(), named);
    const auto sampler = MakeSampler(named.kind, config, {.steps = steps, .strength = strength});
    ASSERT_TRUE(sampler.ok()) << sampler.status();
    const Sampler& s = **sampler;
    ASSERT_EQ(s.steps(), static_cast<int>(golden["timesteps"].size()));
    for (int step = 0; step < s.steps(); ++step) {
      const float t = golden["timesteps"][step];
      // Karras' sigmas give Euler timesteps between two of training, by logarithms.
      ASSERT_NEAR(s.timestep(step), t, config.use_karras_sigmas ? 1e-3 : 0);
    }
    const double sigma = golden["initial_noise_sigma"];
    EXPECT_NEAR(s.initial_noise_sigma(), sigma, 1e-6 * sigma);
    if (golden.contains("renoised")) {
      EXPECT_LT(RelativeL2(Mix(s.MixAt(1)), golden["renoised"]), 1e-6);
    }
    worst = std::max(worst, RunAsGolden(s, golden, Tolerance(steps, config)));
  }
  std::printf("  worst relative L2 %.2e\n", worst);
}

// A checkpoint is (latent, step, history): going on from a copy gives the same bits.
TEST(Samplers, GoOnFromACheckpoint) {
  for (const Named& named : kSamplers) {
    const NoiseConfig config =
        Config(R"({"beta_schedule":"scaled_linear","clip_sample":false})", named);
    for (const double strength : {1.0, 0.8}) {
      const auto sampler = MakeSampler(named.kind, config, {.steps = 10, .strength = strength});
      ASSERT_TRUE(sampler.ok());
      const int steps = (*sampler)->steps();
      std::vector<float> latent = InitialLatent(**sampler);
      std::vector<float> history((*sampler)->history_floats(latent.size()));
      std::vector<float> saved_latent, saved_history;
      for (int step = 0; step < steps; ++step) {
        if (step == 4) {
          saved_latent = latent;
          saved_history = history;
        }
        (*sampler)->Step(step, {Model(**sampler, step, latent), Draw(step)}, {latent, history});
      }
      const auto other = MakeSampler(named.kind, config, {.steps = 10, .strength = strength});
      for (int step = 4; step < steps; ++step) {
        (*other)->Step(step, {Model(**other, step, saved_latent), Draw(step)},
                       {saved_latent, saved_history});
      }
      EXPECT_EQ(saved_latent, latent) << named.name;
    }
  }
}

// Whether MakeSampler must have a sampler for this many steps of 1,000.
bool TakesSteps(const Named& named, const std::string& spacing, int steps) {
  if (named.kind == SamplerKind::kDpmpp2m && spacing != "trailing") return steps < 1000;
  return named.kind != SamplerKind::kLcm || steps <= 50;
}

TEST(Samplers, EveryNumberOfStepsIsRefusedOrFinite) {
  for (const Named& named : kSamplers) {
    for (const char* spacing : {"leading", "trailing", "linspace"}) {
      const NoiseConfig config = Config(
          absl::StrCat(R"({"clip_sample":false,"timestep_spacing":")", spacing, "\"}"), named);
      for (int steps = 1; steps <= 1000; ++steps) {
        SCOPED_TRACE(absl::StrCat(named.name, " ", spacing, " ", steps));
        const auto sampler = MakeSampler(named.kind, config, {.steps = steps});
        ASSERT_EQ(sampler.ok(), TakesSteps(named, spacing, steps)) << sampler.status();
        if (!sampler.ok()) continue;
        ASSERT_EQ((*sampler)->steps(), steps);
        std::vector<float> latent(2, 0.5f), history((*sampler)->history_floats(2));
        const std::vector<float> output(2, 0.1f), noise(2, 0.3f);
        for (int step = 0; step < steps; ++step) {
          const float t = (*sampler)->timestep(step);
          ASSERT_TRUE(t >= 0 && t <= 999) << t;
          // Karras' sigmas lie so close at the end that some share their timestep.
          const bool may_repeat = named.kind == SamplerKind::kDpmpp2mKarras;
          ASSERT_TRUE(step == 0 || t < (*sampler)->timestep(step - 1) ||
                      (may_repeat && t == (*sampler)->timestep(step - 1)))
              << step;
          (*sampler)->Step(step, {output, noise}, {latent, history});
          ASSERT_TRUE(std::isfinite(latent[0])) << step;
        }
      }
    }
  }
}

// The classes without a rule of their own take the nearest; what their configs say of the noise
// counts.
TEST(Samplers, OtherClassesFallBack) {
  const auto kind = [](const char* class_name, const char* more = "") {
    const auto config = ParseNoiseConfig(
        absl::StrCat(R"({"skip_prk_steps":true,"solver_type":"bh2","trained_betas":null)", more,
                     "}"),
        "f", class_name);
    EXPECT_TRUE(config.ok()) << config.status();
    return config.ok() ? config->default_sampler : std::nullopt;
  };
  EXPECT_EQ(kind("PNDMScheduler"), SamplerKind::kDpmpp2m);
  EXPECT_EQ(kind("LMSDiscreteScheduler"), SamplerKind::kDpmpp2m);
  EXPECT_EQ(kind("UniPCMultistepScheduler", R"(,"use_karras_sigmas":true)"),
            SamplerKind::kDpmpp2mKarras);
  EXPECT_EQ(kind("DDPMScheduler"), SamplerKind::kEulerAncestral);
  EXPECT_EQ(kind("FlowMatchEulerDiscreteScheduler"), std::nullopt);
}

TEST(Samplers, RefuseWhatCannotBeSampled) {
  const auto error = [](SamplerKind kind, const NoiseConfig& config, int steps) {
    return std::string(MakeSampler(kind, config, {.steps = steps}).status().message());
  };
  NoiseConfig config;
  EXPECT_THAT(error(SamplerKind::kDdim, config, 0),
              HasSubstr("steps is 0; this model and sampler take 1 to 1000"));
  EXPECT_THAT(error(SamplerKind::kDdim, config, 1001), HasSubstr("take 1 to 1000"));
  EXPECT_THAT(error(SamplerKind::kDpmpp2m, config, 1000), HasSubstr("take 1 to 999"));
  EXPECT_THAT(error(SamplerKind::kLcm, config, 51),
              HasSubstr("takes 1 to 50 (its original_inference_steps is 50)"));
  config.class_name = "TCDScheduler";
  EXPECT_THAT(error(SamplerKind::kModelDefault, config, 20),
              HasSubstr("\"TCDScheduler\", is not one of this engine's: set render.sampler to"));
  config.steps_offset = 1;
  EXPECT_THAT(error(SamplerKind::kDdim, config, 1000),
              HasSubstr("steps_offset 1 leave its 1000 training timesteps"));
  config.beta_start = config.beta_end = 0.5;
  EXPECT_THAT(error(SamplerKind::kEuler, config, 20), HasSubstr("leave no signal"));

  NoiseConfig zero;
  zero.rescale_betas_zero_snr = true;
  zero.spacing = TimestepSpacing::kTrailing;
  EXPECT_THAT(error(SamplerKind::kDdim, zero, 20), HasSubstr("begins without signal"));
  EXPECT_TRUE(MakeSampler(SamplerKind::kEuler, zero, {.steps = 20}).ok());
  zero.prediction = PredictionType::kSample;
  EXPECT_THAT(error(SamplerKind::kEulerAncestral, zero, 20), HasSubstr("euler_a is not defined"));

  const auto strength_error = [](double strength) {
    return std::string(
        MakeSampler(SamplerKind::kEuler, NoiseConfig{}, {.steps = 20, .strength = strength})
            .status()
            .message());
  };
  EXPECT_THAT(strength_error(0), HasSubstr("strength is 0; it must be above 0 and at most 1"));
  EXPECT_THAT(strength_error(1.5), HasSubstr("strength is 1.5"));
  EXPECT_THAT(strength_error(std::nan("")), HasSubstr("strength is nan"));
  EXPECT_THAT(strength_error(0.04), HasSubstr("strength 0.04 leaves none of 20 steps"));
}

}  // namespace
}  // namespace tiltshift::engine
