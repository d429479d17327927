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

SamplerKind Kind(const std::string& name) {
  return name == "ddim"    ? SamplerKind::kDdim
         : name == "euler" ? SamplerKind::kEuler
                           : SamplerKind::kDpmpp2m;
}

const char* ClassOf(SamplerKind kind) {
  return kind == SamplerKind::kDdim    ? "DDIMScheduler"
         : kind == SamplerKind::kEuler ? "EulerDiscreteScheduler"
                                       : "DPMSolverMultistepScheduler";
}

NoiseConfig Config(const std::string& text, SamplerKind kind) {
  auto config = ParseNoiseConfig(text, "scheduler_config.json", ClassOf(kind));
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

std::vector<float> InitialLatent(const Sampler& sampler) {
  std::vector<float> latent(16);
  for (size_t i = 0; i < latent.size(); ++i) {
    latent[i] = static_cast<float>(std::sin(1.7 * i + 0.3) * 1.5) * sampler.initial_noise_sigma();
  }
  return latent;
}

double RelativeL2(const std::vector<float>& got, const json& want) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double w = want[i].get<double>();
    difference += (got[i] - w) * (got[i] - w);
    norm += w * w;
  }
  return std::sqrt(difference / norm);
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

TEST(Samplers, EqualDiffusers) {
  double worst = 0;
  const json goldens = Goldens();
  ASSERT_GT(goldens.size(), 90u);
  for (const json& golden : goldens) {
    const SamplerKind kind = Kind(golden["sampler"]);
    const int steps = golden["steps"];
    SCOPED_TRACE(absl::StrCat(golden["sampler"].get<std::string>(), " ", steps, " ",
                              golden["config"].dump()));
    const auto sampler = MakeSampler(kind, Config(golden["config"].dump(), kind), steps);
    ASSERT_TRUE(sampler.ok()) << sampler.status();
    const Sampler& s = **sampler;
    ASSERT_EQ(s.steps(), static_cast<int>(golden["timesteps"].size()));
    for (int step = 0; step < s.steps(); ++step)
      ASSERT_EQ(s.timestep(step), golden["timesteps"][step].get<float>());
    const double sigma = golden["initial_noise_sigma"];
    EXPECT_NEAR(s.initial_noise_sigma(), sigma, 1e-6 * sigma);

    std::vector<float> latent = InitialLatent(s);
    std::vector<float> history(s.history_floats(latent.size()));
    for (int step = 0; step < s.steps(); ++step) {
      s.Step(step, Model(s, step, latent), latent, history);
      if (step == 0) {
        EXPECT_LT(RelativeL2(latent, golden["first"]), Tolerance(1));
      }
    }
    const double error = RelativeL2(latent, golden["final"]);
    EXPECT_LT(error, Tolerance(steps));
    worst = std::max(worst, error);
  }
  RecordProperty("worst_relative_l2", std::to_string(worst * 1e9) + "e-9");
}

// A checkpoint is (latent, step, history): going on from a copy gives the same bits.
TEST(Samplers, GoOnFromACheckpoint) {
  for (SamplerKind kind : {SamplerKind::kDdim, SamplerKind::kEuler, SamplerKind::kDpmpp2m}) {
    const NoiseConfig config =
        Config(R"({"beta_schedule":"scaled_linear","clip_sample":false})", kind);
    const auto sampler = MakeSampler(kind, config, 10);
    ASSERT_TRUE(sampler.ok());
    std::vector<float> latent = InitialLatent(**sampler);
    std::vector<float> history((*sampler)->history_floats(latent.size()));
    std::vector<float> saved_latent, saved_history;
    for (int step = 0; step < 10; ++step) {
      if (step == 4) {
        saved_latent = latent;
        saved_history = history;
      }
      (*sampler)->Step(step, Model(**sampler, step, latent), latent, history);
    }
    const auto other = MakeSampler(kind, config, 10);
    for (int step = 4; step < 10; ++step) {
      (*other)->Step(step, Model(**other, step, saved_latent), saved_latent, saved_history);
    }
    EXPECT_EQ(saved_latent, latent);
  }
}

TEST(Samplers, EveryNumberOfStepsIsRefusedOrFinite) {
  for (SamplerKind kind : {SamplerKind::kDdim, SamplerKind::kEuler, SamplerKind::kDpmpp2m}) {
    for (const char* spacing : {"leading", "trailing", "linspace"}) {
      const NoiseConfig config = Config(
          absl::StrCat(R"({"clip_sample":false,"timestep_spacing":")", spacing, "\"}"), kind);
      for (int steps = 1; steps <= 1000; ++steps) {
        SCOPED_TRACE(absl::StrCat(ClassOf(kind), " ", spacing, " ", steps));
        const auto sampler = MakeSampler(kind, config, steps);
        const bool one_less = kind == SamplerKind::kDpmpp2m && std::string(spacing) != "trailing";
        ASSERT_EQ(sampler.ok(), !(one_less && steps == 1000)) << sampler.status();
        if (!sampler.ok()) continue;
        ASSERT_EQ((*sampler)->steps(), steps);
        std::vector<float> latent(2, 0.5f), history((*sampler)->history_floats(2));
        for (int step = 0; step < steps; ++step) {
          const float t = (*sampler)->timestep(step);
          ASSERT_TRUE(t >= 0 && t <= 999) << t;
          ASSERT_TRUE(step == 0 || t < (*sampler)->timestep(step - 1)) << step;
          (*sampler)->Step(step, std::vector<float>(2, 0.1f), latent, history);
          ASSERT_TRUE(std::isfinite(latent[0])) << step;
        }
      }
    }
  }
}

TEST(Samplers, RefuseWhatCannotBeSampled) {
  const auto error = [](SamplerKind kind, const NoiseConfig& config, int steps) {
    return std::string(MakeSampler(kind, config, steps).status().message());
  };
  NoiseConfig config;
  EXPECT_THAT(error(SamplerKind::kDdim, config, 0),
              HasSubstr("steps is 0; this model and sampler take 1 to 1000"));
  EXPECT_THAT(error(SamplerKind::kDdim, config, 1001), HasSubstr("take 1 to 1000"));
  EXPECT_THAT(error(SamplerKind::kDpmpp2m, config, 1000), HasSubstr("take 1 to 999"));
  config.class_name = "PNDMScheduler";
  EXPECT_THAT(error(SamplerKind::kModelDefault, config, 20),
              HasSubstr("\"PNDMScheduler\", is not one of this engine's: set render.sampler to"));
  config.steps_offset = 1;
  EXPECT_THAT(error(SamplerKind::kDdim, config, 1000),
              HasSubstr("steps_offset 1 leave its 1000 training timesteps"));
  config.beta_start = config.beta_end = 0.5;
  EXPECT_THAT(error(SamplerKind::kEuler, config, 20), HasSubstr("leave no signal"));
}

}  // namespace
}  // namespace tiltshift::engine
