// Denoising in batches on the card: a sample's bits whatever runs beside it (I4), runs that are
// stopped and go on, and what crosses between host and card meanwhile.
#include <gtest/gtest.h>

#include "engine/philox.h"
#include "engine/pipeline.h"
#include "engine/testing/backend_case.h"
#include "engine/time_encoder.h"

#ifdef TILTSHIFT_EMULATED
#include "kernels/emulation/trace.h"
#endif

namespace tiltshift::engine {
namespace {

constexpr LatentSize kSize = {8, 8};
constexpr int kForwards = 2;

std::shared_ptr<const Model> BuiltIn() {
  auto model =
      Model::Load(std::string(TILTSHIFT_SOURCE_DIR) + "/models/diorama", {.device = Device::kCuda});
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *model : nullptr;
}

// A run with all that its spans point to.
struct Sample {
  std::vector<float> latent, times;
  std::vector<SampleStep> steps;
  SampleRun run;

  // Each n another prompt, seed, sampler, number of forwards and of steps.
  Sample(Pipeline& pipeline, int n, int step_count) {
    constexpr SamplerKind kKinds[] = {SamplerKind::kEulerAncestral, SamplerKind::kDpmpp2m,
                                      SamplerKind::kDdim, SamplerKind::kEuler};
    const Model::Impl& model = pipeline.model();
    const auto sampler = MakeSampler(kKinds[n % 4], model.config.noise, {.steps = step_count});
    EXPECT_TRUE(sampler.ok()) << sampler.status();
    const auto pair = pipeline.Encode(
        {.prompt = n % 2 == 0 ? "a blue cat" : "a red robot on a stone", .negative = "blurry"});
    EXPECT_TRUE(pair.ok()) << pair.status();
    std::vector<float> timesteps;
    for (int step = 0; step < (*sampler)->steps(); ++step) {
      steps.push_back(SampleStepOf(**sampler, step));
      timesteps.push_back((*sampler)->timestep(step));
    }
    TimeEncoder encoder(model, *model.unet);
    const auto rows = encoder.Rows(timesteps, {});
    EXPECT_TRUE(rows.ok()) << rows.status();
    times.assign(rows->begin(), rows->end());
    latent.resize(pipeline.LatentFloats(kSize));
    FillNormal(n, 0, latent);
    for (float& value : latent) value *= (*sampler)->initial_noise_sigma();
    run = {.steps = steps,
           .latent = latent,
           .input_factor = static_cast<float>((*sampler)->InputFactor(0)),
           .forward_count = n % 3 == 2 ? 1 : 2,
           .guidance_scale = 3.0f + static_cast<float>(n),
           .seed = static_cast<uint64_t>(n)};
    run.forwards[0] = {pair->prompt->context.get(), times};
    run.forwards[1] = {pair->negative->context.get(), times};
  }
  Sample(const Sample&) = delete;
};

struct State {
  std::vector<float> latent, history;
  bool operator==(const State&) const = default;
};

State StateOf(DenoiseBatch& batch, int place, size_t floats) {
  State state{std::vector<float>(floats), std::vector<float>(floats)};
  const absl::Status read = batch.Read(place, state.latent, state.history);
  EXPECT_TRUE(read.ok()) << read;
  return state;
}

class CudaDenoiseTest : public testing::CudaTest {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    if (IsSkipped()) return;
    const auto model = BuiltIn();
    ASSERT_NE(model, nullptr);
    pipeline_ = std::make_unique<Pipeline>(model);
  }
  std::unique_ptr<DenoiseBatch> Compile(int samples) {
    const Model::Impl& model = pipeline_->model();
    const UNet::DenoiseGraph graph = model.unet->BuildDenoise(
        {kSize.height, kSize.width, 0}, model.texts[0].tokenizer.length(), UNet::Ends::kRows);
    auto batch = model.backend->CompileDenoise({.graph = &graph.graph,
                                                .input = graph.latent,
                                                .time = graph.time,
                                                .context = graph.context,
                                                .output = graph.output,
                                                .samples = samples,
                                                .forwards = kForwards},
                                               model.compute);
    EXPECT_TRUE(batch.ok()) << batch.status();
    return batch.ok() ? *std::move(batch) : nullptr;
  }
  static void Step(DenoiseBatch& batch, int steps) {
    for (int i = 0; i < steps; ++i) ASSERT_TRUE(batch.Step().ok());
  }

  std::unique_ptr<Pipeline> pipeline_;
};

// The target has the first, the last or a middle place; neighbours begin with it, or before it and
// end before it.
TEST_F(CudaDenoiseTest, I4InEveryBatchAndPlace) {
  constexpr int kMost = 8;
  Sample target(*pipeline_, 0, 3);
  const size_t floats = target.latent.size();
  const auto alone = Compile(1);
  ASSERT_TRUE(alone->Begin(0, target.run).ok());
  Step(*alone, 1);
  const State expected = StateOf(*alone, 0, floats);
  std::vector<std::unique_ptr<Sample>> neighbours;
  for (int n = 1; n < kMost; ++n) {
    neighbours.push_back(std::make_unique<Sample>(*pipeline_, n, 1 + n % 3));
  }
  for (int samples = 2; samples <= kMost; ++samples) {
    const int places[] = {0, samples - 1, samples / 2};
    const int place = places[samples % 3];
    const auto batch = Compile(samples);
    for (int i = 1; i < samples; ++i) {
      const int beside = (place + i) % samples;
      ASSERT_TRUE(batch->Begin(beside, neighbours[i - 1]->run).ok());
    }
    if (samples == 4) Step(*batch, 1);
    ASSERT_TRUE(batch->Begin(place, target.run).ok());
    Step(*batch, 1);
    EXPECT_EQ(StateOf(*batch, place, floats), expected)
        << "place " << place << " in a batch of " << samples;
  }
}

// A place's next run knows nothing of the last, ended or not.
TEST_F(CudaDenoiseTest, I4WhateverThePlaceHeldBefore) {
  Sample first(*pipeline_, 1, 3), target(*pipeline_, 0, 2);
  const size_t floats = target.latent.size();
  const auto fresh = Compile(1), used = Compile(1);
  ASSERT_TRUE(fresh->Begin(0, target.run).ok());
  Step(*fresh, 2);
  ASSERT_TRUE(used->Begin(0, first.run).ok());
  Step(*used, 2);
  ASSERT_TRUE(used->Begin(0, target.run).ok());
  Step(*used, 2);
  const State expected = StateOf(*fresh, 0, floats);
  EXPECT_EQ(StateOf(*used, 0, floats), expected);
  Step(*used, 1);  // nothing is left to do
  EXPECT_EQ(StateOf(*used, 0, floats), expected);
}

class StoppedRunTest : public testing::CudaTest,
                       public ::testing::WithParamInterface<std::tuple<Device, SamplerKind>> {};

// Stopped before each step, and gone on in another pipeline: the latent of a run that was left
// alone.
TEST_P(StoppedRunTest, I4GoesOnToTheSameBits) {
  constexpr int kSteps = 3;
  const auto [device, kind] = GetParam();
  const auto model =
      Model::Load(std::string(TILTSHIFT_SOURCE_DIR) + "/models/diorama", {.device = device});
  ASSERT_TRUE(model.ok()) << model.status();
  const auto sampler = MakeSampler(kind, (*model)->impl().config.noise, {.steps = kSteps});
  ASSERT_TRUE(sampler.ok()) << sampler.status();
  const auto denoise = [&](Pipeline& pipeline, std::vector<float>& latent, DenoiseState* state,
                           int most_steps) {
    const auto pair = pipeline.Encode({.prompt = "a blue cat"});
    EXPECT_TRUE(pair.ok()) << pair.status();
    DenoiseOptions options = {.size = kSize,
                              .sampler = sampler->get(),
                              .prompt = pair->prompt,
                              .negative = pair->negative,
                              .guidance_scale = 3,
                              .seed = 4,
                              .state = state};
    return pipeline.Denoise(
        options, [&] { return most_steps-- > 0; }, latent);
  };
  Pipeline pipeline(*model), other(*model);
  std::vector<float> expected(pipeline.LatentFloats(kSize)), latent(expected.size());
  FillNormal(4, 0, expected);
  ASSERT_TRUE(denoise(pipeline, expected, nullptr, kSteps).ok());
  FillNormal(4, 0, latent);
  DenoiseState state;
  for (int step = 1; step < kSteps; ++step) {
    const absl::Status stopped = denoise(step % 2 == 1 ? pipeline : other, latent, &state, 1);
    EXPECT_EQ(stopped.code(), absl::StatusCode::kCancelled) << stopped;
    EXPECT_EQ(state.step, step);
    EXPECT_NE(latent, expected);
  }
  ASSERT_TRUE(denoise(other, latent, &state, kSteps).ok());
  EXPECT_EQ(latent, expected);
}
INSTANTIATE_TEST_SUITE_P(Kinds, StoppedRunTest,
                         ::testing::Combine(::testing::Values(Device::kCpu, Device::kCuda),
                                            ::testing::Values(SamplerKind::kEulerAncestral,
                                                              SamplerKind::kDpmpp2m)));

#ifdef TILTSHIFT_EMULATED

using emulation::Call;
using emulation::CallKind;

int Count(const std::vector<Call>& calls, CallKind kind) {
  return static_cast<int>(
      std::ranges::count_if(calls, [&](const Call& call) { return call.kind == kind; }));
}

// A run's steps are started ahead of the card, two at most; nothing crosses between host and card
// from the first to the last, and what crosses before and after is pinned, in the run's own stream.
TEST_F(CudaDenoiseTest, NothingCrossesBetweenFirstStepAndLast) {
  constexpr int kSteps = 5;
  Sample sample(*pipeline_, 0, kSteps);
  const auto other = Compile(1);  // brings the weights to the card
  emulation::StartTrace();
  const auto batch = Compile(1);
  const std::vector<Call> compiled = emulation::TakeTrace();
  for (const Call& call : compiled) {
    EXPECT_FALSE(call.captured &&
                 (call.kind == CallKind::kToCard || call.kind == CallKind::kToHost));
  }
  EXPECT_GT(Count(compiled, CallKind::kLaunch), 50) << "what a step's graph holds";

  emulation::StartTrace();
  ASSERT_TRUE(batch->Begin(0, sample.run).ok());
  const std::vector<Call> begun = emulation::TakeTrace();
  EXPECT_GT(Count(begun, CallKind::kToCard), 0);
  const CUstream_st* stream = begun.back().stream;
  ASSERT_NE(stream, nullptr);
  for (const Call& call : begun) {
    if (call.kind == CallKind::kToCard) {
      EXPECT_TRUE(call.pinned);
      EXPECT_EQ(call.stream, stream);
    }
  }

  emulation::StartTrace();
  Step(*batch, kSteps);
  const std::vector<Call> steps = emulation::TakeTrace();
  int started = 0, awaited = 0;
  for (const Call& call : steps) {
    EXPECT_EQ(call.stream, stream);
    EXPECT_TRUE(call.kind == CallKind::kOnCard || call.kind == CallKind::kGraph ||
                call.kind == CallKind::kWait);
    started += call.kind == CallKind::kGraph;
    awaited += call.kind == CallKind::kWait;
    if (call.kind == CallKind::kGraph) {
      EXPECT_EQ(started - awaited, std::min(started, 2));
    }
  }
  EXPECT_EQ(started, kSteps);

  emulation::StartTrace();
  StateOf(*batch, 0, sample.latent.size());
  for (const Call& call : emulation::TakeTrace()) {
    EXPECT_TRUE(call.kind == CallKind::kWait || call.pinned);
    EXPECT_EQ(call.stream, stream);
  }
}

// A slot's render waits for its own stream alone and allocates nothing, so that slots' transfers
// run beside each other's kernels. The first render of a size is what brings its memory.
TEST_F(CudaDenoiseTest, ARenderWaitsForNoOtherStream) {
  Renderer renderer(BuiltIn());
  RenderRequest request = {.prompt = "a blue cat", .width = 64, .height = 64, .steps = 2};
  ASSERT_TRUE(renderer.Render(request).ok());
  request.seed = 5;
  emulation::StartTrace();
  ASSERT_TRUE(renderer.Render(request).ok());
  const std::vector<Call> calls = emulation::TakeTrace();
  EXPECT_EQ(Count(calls, CallKind::kGraph), 3) << "two steps and the decoder";
  for (const Call& call : calls) {
    EXPECT_NE(call.stream, nullptr) << "waits for all";
    EXPECT_TRUE(call.kind != CallKind::kAllocate && call.kind != CallKind::kFree);
    const bool crosses = call.kind == CallKind::kToCard || call.kind == CallKind::kToHost;
    EXPECT_TRUE(!crosses || call.pinned);
  }
}

#endif

}  // namespace
}  // namespace tiltshift::engine
