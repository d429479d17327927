// The whole engine on the CUDA backend, emulated or on a card: near the CPU's, the same bits
// whatever runs beside it (I4), and honest when the card fails or is full.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <thread>

#include "base/hash.h"
#include "engine/model_impl.h"
#include "engine/philox.h"
#include "engine/pipeline.h"
#include "engine/renderer.h"
#include "engine/testing/backend_case.h"

#ifdef TILTSHIFT_EMULATED
#include "kernels/elementwise.h"
#include "kernels/emulation/card.h"
#endif

namespace tiltshift::engine {
namespace {

using ::testing::HasSubstr;

constexpr char kPrintHash[] = "TILTSHIFT_PRINT_HASH";

std::shared_ptr<const Model> BuiltIn(Device device, Precision precision = Precision::kAuto) {
  auto model = Model::Load(std::string(TILTSHIFT_SOURCE_DIR) + "/models/diorama",
                           {.precision = precision, .device = device});
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *model : nullptr;
}

RenderRequest SmallRequest() {
  RenderRequest request;
  request.prompt = "a miniature blue cat on a round wooden base";
  request.negative_prompt = "blurry";
  request.seed = 11;
  request.steps = 1;
  request.width = 64;
  request.height = 64;
  return request;
}

struct Result {
  std::vector<float> latent;  // after the last step
  std::vector<uint8_t> rgb;
};

Result RenderWith(Renderer& renderer, const RenderRequest& request) {
  Result result;
  const auto keep = [&](int, std::span<const float> latent) {
    result.latent.assign(latent.begin(), latent.end());
  };
  auto picture = renderer.Render(request, {.after_step = keep});
  EXPECT_TRUE(picture.ok()) << picture.status();
  if (picture.ok()) result.rgb = std::move(picture->rgb);
  return result;
}

std::string HashOf(const std::vector<uint8_t>& rgb) {
  return Sha256Hex({reinterpret_cast<const char*>(rgb.data()), rgb.size()});
}

class CudaRenderTest : public testing::CudaTest {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    if (IsSkipped()) return;
    model_ = BuiltIn(Device::kCuda);
    ASSERT_NE(model_, nullptr);
  }
  std::vector<uint8_t> Pixels(const RenderRequest& request = SmallRequest()) {
    Renderer renderer(model_);
    return RenderWith(renderer, request).rgb;
  }
  std::shared_ptr<const Model> model_;
};

// bf16 of the UNet's layers, added up over the steps and enlarged by guidance: at the model's own
// size 1.2e-2, and 1.15e-2 between the CPU's bf16 and its fp32.
TEST_F(CudaRenderTest, TheBuiltInModelIsNearTheCpus) {
  constexpr double kLatentBound = 2e-2;
  RenderRequest request = SmallRequest();
  request.width = 256;
  request.height = 256;
  request.steps = 2;
  Renderer cuda(model_), cpu(BuiltIn(Device::kCpu, Precision::kFp32));
  const Result ours = RenderWith(cuda, request), theirs = RenderWith(cpu, request);
  const double distance = testing::Distance(ours.latent, theirs.latent);
  EXPECT_LT(distance, kLatentBound);
  EXPECT_GT(distance, 1e-5) << "not computed twice";
  double difference = 0;
  for (size_t i = 0; i < ours.rgb.size(); ++i) difference += std::abs(ours.rgb[i] - theirs.rgb[i]);
  EXPECT_LT(difference / ours.rgb.size(), 2.0);  // of 255
  std::printf("latent's relative L2 %.2e, picture's mean difference %.3f of 255\n", distance,
              difference / ours.rgb.size());
}

// The UNet's output at a small size, where errors are largest, from the same text: computed in
// `compute`.
std::vector<float> ForwardOf(Device device, Compute compute, const std::vector<float>& embedding) {
  constexpr LatentSize kSize = {12, 16};
  constexpr float kTimestep = 500;
  const auto loaded = BuiltIn(device, device == Device::kCpu ? Precision::kFp32 : Precision::kAuto);
  const Model::Impl& model = loaded->impl();
  const UNet& unet = *model.unet;
  Backend& backend = *model.backend;
  const int tokens = model.texts[0].tokenizer.length();
  const auto context_graph = unet.BuildContext(tokens);
  const auto time_graph = unet.BuildTime(1);
  const auto graph = unet.BuildDenoise({kSize.height, kSize.width, 0}, tokens);
  auto context = backend.Compile(context_graph.graph, compute);
  auto time = backend.Compile(time_graph.graph, Compute::kFp32);
  auto denoise = backend.Compile(graph.graph, compute);
  EXPECT_TRUE(context.ok() && time.ok() && denoise.ok());
  (*context)->Write(context_graph.input, embedding);
  (*context)->Run();
  const auto kept = (*context)->Keep(context_graph.output);
  std::vector<float> sinusoids(time_graph.input.shape.size()), row(time_graph.output.shape.size());
  unet.FillSinusoids(kTimestep, sinusoids);
  (*time)->Write(time_graph.input, sinusoids);
  (*time)->Run();
  (*time)->Read(time_graph.output, row);
  std::vector<float> latent(graph.latent.shape.size()), output(graph.output.shape.size());
  FillNormal(1, 0, latent);
  (*denoise)->Write(graph.latent, latent);
  (*denoise)->Write(graph.time, row);
  (*denoise)->Bind(graph.context, **kept);
  (*denoise)->Run();
  (*denoise)->Read(graph.output, output);
  return output;
}

// Where the error comes from: with the 3 bits more that fp16 keeps of activations and weights, an
// eighth of it is left. The CPU's bf16 makes as much of it as the card's.
TEST_F(CudaRenderTest, TheErrorIsThatOfBf16) {
  const auto cpu = BuiltIn(Device::kCpu, Precision::kFp32);
  Pipeline pipeline(cpu);
  const auto prompt = pipeline.Encode("a miniature blue cat on a round wooden base");
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  const std::vector<float>& text = (*prompt)->embedding;
  const std::vector<float> exact = ForwardOf(Device::kCpu, Compute::kFp32, text);
  const double bf16 = testing::Distance(ForwardOf(Device::kCuda, Compute::kBf16, text), exact);
  const double fp16 = testing::Distance(ForwardOf(Device::kCuda, Compute::kFp32, text), exact);
  std::printf("relative L2: bf16 %.2e, fp16 %.2e\n", bf16, fp16);
  EXPECT_LT(bf16, 2e-2);
  EXPECT_LT(fp16, bf16 / 5);
  if (!cpu->impl().backend->HasBf16()) return;
  const double on_cpu = testing::Distance(ForwardOf(Device::kCpu, Compute::kBf16, text), exact);
  std::printf("relative L2 of the CPU's bf16: %.2e\n", on_cpu);
  EXPECT_LT(bf16, 1.5 * on_cpu);
}

TEST_F(CudaRenderTest, I4WhateverWasRenderedBefore) {
  Renderer renderer(model_);
  RenderRequest other = SmallRequest();
  other.width = 80;
  other.guidance_scale = 1;
  RenderWith(renderer, other);
  const std::vector<uint8_t> after = RenderWith(renderer, SmallRequest()).rgb;
  EXPECT_EQ(after, Pixels());
}

TEST_F(CudaRenderTest, I4BesideOtherRenderers) {
  constexpr int kNeighbours = 3;
  const std::vector<uint8_t> expected = Pixels();
  std::vector<std::vector<uint8_t>> pixels(kNeighbours);
  std::vector<std::thread> threads;
  for (int i = 0; i < kNeighbours; ++i) {
    threads.emplace_back([&, i] { pixels[i] = Pixels(); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<uint8_t>& each : pixels) EXPECT_EQ(each, expected);
}

TEST_F(CudaRenderTest, I4InAFreshProcess) {
  const std::string hash = HashOf(Pixels());
  if (std::getenv(kPrintHash) != nullptr) {
    std::printf("hash %s\n", hash.c_str());
    return;
  }
  const std::string command = absl::StrCat(kPrintHash, "=1 /proc/", getpid(),
                                           "/exe --gtest_filter=CudaRenderTest.I4InAFreshProcess");
  FILE* child = popen(command.c_str(), "r");
  ASSERT_NE(child, nullptr);
  std::string output;
  for (int c = std::fgetc(child); c != EOF; c = std::fgetc(child)) output += static_cast<char>(c);
  EXPECT_EQ(pclose(child), 0);
  EXPECT_THAT(output, HasSubstr("hash " + hash));
}

TEST_F(CudaRenderTest, SaysWhatItIsAndWhatItCannot) {
  EXPECT_THAT(model_->render_class(), ::testing::StartsWith("cuda-"));
  EXPECT_THAT(model_->render_class(), HasSubstr("/bf16/"));
  const auto fp32 = Model::Load(std::string(TILTSHIFT_SOURCE_DIR) + "/models/diorama",
                                {.precision = Precision::kFp32, .device = Device::kCuda});
  EXPECT_EQ(fp32.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(fp32.status()), HasSubstr("use precision auto or bf16, or device cpu"));
}

#ifdef TILTSHIFT_EMULATED

TEST(DeviceTest, AutoTakesNoEmulatedCard) {
  const auto device = ChooseDevice(Device::kAuto);
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_EQ(device->device, Device::kCpu);
  EXPECT_THAT(BuiltIn(Device::kAuto)->render_class(), ::testing::StartsWith("cpu-"));
}

// A full card: what was compiled before still works, and what is freed serves others.
TEST_F(CudaRenderTest, AFullCardIsTheRequestsTrouble) {
  const std::vector<uint8_t> expected = Pixels();
  Renderer first(model_);
  EXPECT_EQ(RenderWith(first, SmallRequest()).rgb, expected);
  emulation::DeviceMemory& memory = emulation::TheCard().memory();
  const size_t limit = memory.limit();
  memory.set_limit(memory.bytes_in_use() + (64 << 10));
  Renderer second(model_);
  const auto picture = second.Render(SmallRequest());
  EXPECT_EQ(picture.status().code(), absl::StatusCode::kResourceExhausted) << picture.status();
  EXPECT_THAT(Message(picture.status()), HasSubstr("fewer slots"));
  EXPECT_EQ(RenderWith(first, SmallRequest()).rgb, expected);
  memory.set_limit(limit);
  EXPECT_EQ(RenderWith(second, SmallRequest()).rgb, expected);
}

// Every amount of memory that is too small, from nothing to almost enough: never a wrong picture.
TEST_F(CudaRenderTest, NoAmountOfMemoryGivesAnotherPicture) {
  const std::vector<uint8_t> expected = Pixels();
  emulation::DeviceMemory& memory = emulation::TheCard().memory();
  const size_t limit = memory.limit(), used = memory.bytes_in_use();
  RenderRequest request = SmallRequest();
  int refused = 0, rendered = 0;
  for (size_t room = 0; rendered == 0; room = room * 2 + (256 << 10)) {
    memory.set_limit(used + room);
    Renderer renderer(model_);
    const auto picture = renderer.Render(request);
    if (picture.ok()) {
      ++rendered;
      EXPECT_EQ(picture->rgb, expected) << room;
    } else {
      ++refused;
      EXPECT_EQ(picture.status().code(), absl::StatusCode::kResourceExhausted) << picture.status();
    }
  }
  memory.set_limit(limit);
  EXPECT_GT(refused, 2);
}

// A kernel's fault stays with the process: every render says so from then on.
TEST_F(CudaRenderTest, AFaultOnTheCardEndsItsUse) {
  Renderer renderer(model_);
  int step = 0;
  const auto fault = [&] {
    if (++step > 1) return true;
    const emulation::Tracked tracked;
    float nowhere = 0;
    kernels::Map<float, float>(
        nullptr,
        {.rows = 1, .channels = 1, .x = &nowhere, .x_stride = 1, .y = &nowhere, .y_stride = 1});
    return true;
  };
  const auto picture = renderer.Render(SmallRequest(), {.keep_going = fault});
  EXPECT_EQ(picture.status().code(), absl::StatusCode::kAborted) << picture.status();
  EXPECT_THAT(Message(picture.status()), HasSubstr("cudaErrorLaunchFailure"));
  Renderer other(model_);
  EXPECT_EQ(other.Render(SmallRequest()).status().code(), absl::StatusCode::kAborted);
  emulation::TheCard().findings().Take();
  emulation::ResetError();
  EXPECT_EQ(other.Render(SmallRequest()).status().code(), absl::StatusCode::kAborted);
}

#endif

}  // namespace
}  // namespace tiltshift::engine
