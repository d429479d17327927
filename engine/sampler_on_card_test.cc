// The card's denoise step beside the samplers it stands for, and its noise beside FillNormal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "engine/cuda/denoise_row.h"
#include "engine/philox.h"
#include "engine/samplers.h"
#include "kernels/denoise_step.h"
#include "kernels/testing/device_buffer.h"
#include "kernels/testing/kernel_test.h"

namespace tiltshift::engine {
namespace {

using kernels::Bf16;
using kernels::DenoiseRow;
using kernels::testing::DeviceBuffer;
using kernels::testing::KernelTest;
using kernels::testing::RandomNumbers;

constexpr int kChannels = 4,
              kPositions = 77;  // no multiple of 4: noise in blocks of 4 must not care
constexpr int kFloats = kChannels * kPositions;

// One sample, one step: planar latent and history in and out, planar output.
void StepOnCard(const DenoiseRow& row, const std::vector<float>& output, std::vector<float>& latent,
                std::vector<float>& history) {
  std::vector<float> rows_of_channels(kFloats);
  for (int i = 0; i < kFloats; ++i) {
    rows_of_channels[i % kPositions * kChannels + i / kPositions] = output[i];
  }
  const DeviceBuffer<DenoiseRow> rows(std::vector{row});
  const DeviceBuffer<float> device_output(rows_of_channels), device_latent(latent),
      device_history(history);
  const kernels::DenoiseArguments<Bf16> arguments = {.samples = 1,
                                                     .channels = kChannels,
                                                     .positions = kPositions,
                                                     .rows = rows.get(),
                                                     .output = device_output.get(),
                                                     .output_stride = kChannels,
                                                     .latent = device_latent.get(),
                                                     .history = device_history.get()};
  TS_CHECK(kernels::DenoiseStep<Bf16>(nullptr, arguments) == cudaSuccess);
  latent = device_latent.Read();
  history = device_history.Read();
}

DenoiseRow RowOf(const StepRule& rule, uint64_t seed, int step) {
  DenoiseRow row = cuda::RuleRow(rule);
  row.noise_stream = static_cast<uint32_t>(step + 1);
  row.seed = seed;
  return row;
}

using DenoiseNoise = KernelTest;

TEST_F(DenoiseNoise, HasTheBitsOfFillNormal) {
  for (const uint64_t seed : {uint64_t{0}, uint64_t{7}, uint64_t{0xfedcba9876543210}}) {
    for (const int step : {0, 1, 999}) {
      std::vector<float> expected(kFloats), latent(kFloats), history(kFloats);
      FillNormal(seed, step + 1, expected);
      StepOnCard(RowOf({.next_of_noise = 1}, seed, step), expected, latent, history);
      EXPECT_EQ(std::memcmp(latent.data(), expected.data(), kFloats * sizeof(float)), 0);
    }
  }
}

struct Run {
  std::string name;
  SamplerKind kind;
  PredictionType prediction;
};

std::vector<Run> AllRuns() {
  std::vector<Run> runs;
  const std::pair<std::string, SamplerKind> kinds[] = {{"ddim", SamplerKind::kDdim},
                                                       {"euler", SamplerKind::kEuler},
                                                       {"euler_a", SamplerKind::kEulerAncestral},
                                                       {"dpmpp_2m", SamplerKind::kDpmpp2m},
                                                       {"karras", SamplerKind::kDpmpp2mKarras},
                                                       {"lcm", SamplerKind::kLcm}};
  for (const auto& [name, kind] : kinds) {
    runs.push_back({name + "_epsilon", kind, PredictionType::kEpsilon});
    runs.push_back({name + "_v", kind, PredictionType::kVPrediction});
    if (kind == SamplerKind::kEulerAncestral) continue;  // not defined
    runs.push_back({name + "_sample", kind, PredictionType::kSample});
  }
  return runs;
}

class SamplerOnCard : public KernelTest, public ::testing::WithParamInterface<Run> {};

TEST_P(SamplerOnCard, MakesTheSamplersStep) {
  NoiseConfig config;
  config.prediction = GetParam().prediction;
  config.clip_sample = 1.0f;
  const auto sampler = MakeSampler(GetParam().kind, config, {.steps = 6});
  ASSERT_TRUE(sampler.ok()) << sampler.status();
  std::vector<float> latent =
      RandomNumbers<float>(kFloats, 1, 2 * (*sampler)->initial_noise_sigma());
  std::vector<float> history(kFloats), noise(kFloats), scaled(kFloats);
  for (int step = 0; step < (*sampler)->steps(); ++step) {
    const std::vector<float> output = RandomNumbers<float>(kFloats, 10 + step);
    const StepRule rule = (*sampler)->RuleAt(step);
    std::vector<float> card = latent, card_history = history;
    const std::vector<float> before = latent;
    const std::vector<float> history_before = history;
    StepOnCard(RowOf(rule, 5, step), output, card, card_history);
    FillNormal(5, step + 1, noise);
    const bool has_history = (*sampler)->history_floats(kFloats) > 0;
    (*sampler)->ScaleInput(step, latent, scaled);
    (*sampler)->Step(step, {output, noise},
                     {latent, has_history ? std::span(history) : std::span<float>()});
    for (int i = 0; i < kFloats; ++i) {
      EXPECT_NEAR(scaled[i], (*sampler)->InputFactor(step) * before[i],
                  0x1p-22 * std::fabs(scaled[i]));
      const double x0 =
          std::fabs(rule.x0_of_latent * before[i]) + std::fabs(rule.x0_of_output * output[i]);
      const double size = std::fabs(before[i]) + std::fabs(rule.next_of_latent * before[i]) +
                          std::fabs(rule.next_of_output * output[i]) +
                          std::fabs(rule.next_of_x0) * x0 +
                          std::fabs(rule.next_of_history * history_before[i]) +
                          std::fabs(rule.next_of_noise * noise[i]);
      ASSERT_NEAR(card[i], latent[i], 16 * 0x1p-24 * size) << "step " << step << ", number " << i;
      if (has_history) {
        ASSERT_NEAR(card_history[i], history[i], 16 * 0x1p-24 * x0);
      }
    }
  }
}
INSTANTIATE_TEST_SUITE_P(All, SamplerOnCard, ::testing::ValuesIn(AllRuns()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace tiltshift::engine
