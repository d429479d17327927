// What Renderer promises: I4 over threads, history and neighbours, in each precision; bounds; cancelling.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <omp.h>

#include <cstring>
#include <map>
#include <thread>

#include "base/file.h"
#include "engine/cpu/isa.h"
#include "engine/renderer.h"
#include "engine/safetensors.h"
#include "engine/testing/parity_case.h"
#include "engine/testing/tiny_model.h"

namespace tiltshift::engine {
namespace {

using ::testing::HasSubstr;

std::shared_ptr<const Model> BuiltIn(Precision precision) {
  auto model = Model::Load(std::string(TILTSHIFT_SOURCE_DIR) + "/models/diorama", {precision});
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *model : nullptr;
}

RenderRequest SmallRequest() {
  RenderRequest request;
  request.prompt = "a miniature blue cat on a round wooden base";
  request.negative_prompt = "blurry";
  request.seed = 11;
  request.steps = 3;
  return request;
}

std::vector<uint8_t> Pixels(Renderer& renderer, const RenderRequest& request) {
  const auto picture = renderer.Render(request);
  EXPECT_TRUE(picture.ok()) << picture.status();
  return picture.ok() ? picture->rgb : std::vector<uint8_t>();
}

class SameBitsTest : public ::testing::TestWithParam<Precision> {
 protected:
  void SetUp() override {
    if (GetParam() == Precision::kBf16 && !cpu::HasBf16()) GTEST_SKIP() << "no bf16 on this processor";
    omp_set_num_threads(1);
    model_ = BuiltIn(GetParam());
    ASSERT_NE(model_, nullptr);
    static std::map<Precision, std::vector<uint8_t>> expected;
    if (!expected.contains(GetParam())) {
      Renderer renderer(model_);
      expected[GetParam()] = Pixels(renderer, SmallRequest());
    }
    expected_ = expected[GetParam()];
    ASSERT_EQ(expected_.size(), 256u * 256 * 3);
  }
  void TearDown() override { omp_set_num_threads(omp_get_num_procs()); }

  std::shared_ptr<const Model> model_;
  std::vector<uint8_t> expected_;
};

TEST_P(SameBitsTest, I4ForAnyThreadCount) {
  Renderer renderer(model_);
  for (const int threads : {2, 1, 3, 4}) {
    omp_set_num_threads(threads);
    EXPECT_EQ(Pixels(renderer, SmallRequest()), expected_) << threads << " threads";
  }
}

TEST_P(SameBitsTest, I4WhateverWasRenderedBefore) {
  Renderer renderer(model_);
  RenderRequest other = SmallRequest();
  other.prompt = "a red robot";
  other.width = 128;
  other.sampler = SamplerKind::kEuler;
  other.guidance_scale = 1;
  other.steps = 2;
  Pixels(renderer, other);
  other.width = 320;
  Pixels(renderer, other);
  EXPECT_EQ(Pixels(renderer, SmallRequest()), expected_);
  other.width = 192;
  Pixels(renderer, other);
  EXPECT_EQ(Pixels(renderer, SmallRequest()), expected_);
}

TEST_P(SameBitsTest, I4BesideOtherRenderers) {
  constexpr int kNeighbours = 3;
  std::vector<std::vector<uint8_t>> pixels(kNeighbours);
  std::vector<std::thread> threads;
  for (int i = 0; i < kNeighbours; ++i) {
    threads.emplace_back([&, i] {
      omp_set_num_threads(i == 2 ? 2 : 1);
      Renderer renderer(model_);
      RenderRequest warm = SmallRequest();
      warm.seed = 100 + i;
      Pixels(renderer, warm);
      pixels[i] = Pixels(renderer, SmallRequest());
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<uint8_t>& each : pixels) EXPECT_EQ(each, expected_);
}

// Guidance away from the prompt itself is none.
TEST_P(SameBitsTest, APromptMayBeItsOwnNegative) {
  Renderer renderer(model_);
  RenderRequest both = SmallRequest(), unguided = both;
  both.negative_prompt = both.prompt;
  unguided.guidance_scale = 1;
  EXPECT_EQ(Pixels(renderer, both), Pixels(renderer, unguided));
}

TEST_P(SameBitsTest, EveryInputCounts) {
  Renderer renderer(model_);
  const auto differs = [&](auto change) {
    RenderRequest request = SmallRequest();
    change(request);
    EXPECT_NE(Pixels(renderer, request), expected_);
  };
  differs([](RenderRequest& r) { r.seed = 12; });
  differs([](RenderRequest& r) { r.prompt = "a miniature blue cat"; });
  differs([](RenderRequest& r) { r.negative_prompt = ""; });
  differs([](RenderRequest& r) { r.steps = 4; });
  differs([](RenderRequest& r) { r.guidance_scale = 1; });
  differs([](RenderRequest& r) { r.guidance_scale = 5; });
  differs([](RenderRequest& r) { r.sampler = SamplerKind::kDdim; });
}

INSTANTIATE_TEST_SUITE_P(Precisions, SameBitsTest, ::testing::Values(Precision::kFp32, Precision::kBf16),
                         [](const auto& info) {
                           return info.param == Precision::kFp32 ? "Fp32" : "Bf16";
                         });

TEST(SameBitsTinyTest, I4OfAModelWithHeadsOf40And80And160) {
  const std::string folder = ::testing::TempDir() + "render_tiny";
  ASSERT_TRUE(WriteTinyModel(TILTSHIFT_SOURCE_DIR, folder).ok());
  const auto model = Model::Load(folder, {});
  ASSERT_TRUE(model.ok()) << model.status();
  RenderRequest request = SmallRequest();
  request.width = 80;
  request.height = 64;
  std::vector<uint8_t> expected;
  for (const int threads : {1, 2, 3}) {
    omp_set_num_threads(threads);
    Renderer renderer(*model);
    const std::vector<uint8_t> pixels = Pixels(renderer, request);
    if (expected.empty()) expected = pixels;
    EXPECT_EQ(pixels, expected) << threads << " threads";
  }
}

TEST(RendererTest, RefusesWhatIsOutOfBounds) {
  Renderer renderer(BuiltIn(Precision::kAuto));
  const auto error = [&](auto change) {
    RenderRequest request = SmallRequest();
    change(request);
    const auto picture = renderer.Render(request);
    EXPECT_EQ(picture.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(picture.status().message());
  };
  EXPECT_THAT(error([](RenderRequest& r) { r.width = 100; }), HasSubstr("width is 100"));
  EXPECT_THAT(error([](RenderRequest& r) { r.height = 4096; }), HasSubstr("height is 4096"));
  EXPECT_THAT(error([](RenderRequest& r) { r.height = -64; }), HasSubstr("height is -64"));
  EXPECT_THAT(error([](RenderRequest& r) { r.steps = 0; }), HasSubstr("steps is 0"));
  EXPECT_THAT(error([](RenderRequest& r) { r.steps = 1001; }), HasSubstr("steps is 1001"));
  EXPECT_THAT(error([](RenderRequest& r) { r.guidance_scale = std::nan(""); }),
              HasSubstr("guidance_scale is nan"));
  EXPECT_THAT(error([](RenderRequest& r) { r.guidance_scale = 1e9; }), HasSubstr("guidance_scale"));
}

// Every number of one tensor of a small model is `number`, as BF16 holds it.
absl::StatusOr<std::shared_ptr<const Model>> WithTensor(const std::string& file,
                                                        const std::string& tensor,
                                                        uint16_t number) {
  const std::string folder = ::testing::TempDir() + "render_numbers";
  TS_RETURN_IF_ERROR(WriteParityModel(TILTSHIFT_SOURCE_DIR, "small", folder));
  TS_ASSIGN_OR_RETURN(std::string bytes, ReadFile(folder + file));
  TS_ASSIGN_OR_RETURN(const TensorMap tensors, ParseSafetensors(bytes, file));
  const std::string_view there = tensors.at(tensor).bytes;
  for (size_t i = 0; i < there.size(); i += 2)
    std::memcpy(&bytes[there.data() - bytes.data() + i], &number, 2);
  TS_RETURN_IF_ERROR(WriteFileAtomic(folder + file, bytes, IfPresent::kReplace).status());
  return Model::Load(folder, {Precision::kFp32});
}

constexpr uint16_t kLargest = 0x7f7f, kNan = 0x7fc0;
constexpr char kUNetFile[] = "/unet/diffusion_pytorch_model.safetensors";
constexpr char kVaeFile[] = "/vae/diffusion_pytorch_model.safetensors";

TEST(NumbersTest, WeightsThatAreNoneAreNamed) {
  const std::tuple<const char*, const char*> cases[] = {
      {kUNetFile, "conv_in.weight"},
      {kVaeFile, "decoder.conv_out.bias"},
      {"/text_encoder/model.safetensors", "text_model.encoder.layers.0.mlp.fc1.weight"}};
  for (const auto& [file, tensor] : cases) {
    const absl::Status status = WithTensor(file, tensor, kNan).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(tensor));
    EXPECT_THAT(std::string(status.message()), HasSubstr("is NaN or infinite"));
  }
}

// Each weight is a number, and what they make is none: an error in place of a black picture.
TEST(NumbersTest, WhatIsComputedMustBeNumbers) {
  const std::tuple<const char*, const char*, const char*> cases[] = {
      {kUNetFile, "conv_out.weight", "the denoised latent has values that are not numbers"},
      {kUNetFile, "mid_block.resnets.0.conv1.weight",
       "the denoised latent has values that are not numbers"},
      {kVaeFile, "decoder.conv_out.weight", "the decoded picture has values that are not numbers"},
      {"/text_encoder/model.safetensors", "text_model.final_layer_norm.weight",
       "the denoised latent has values"}};
  for (const auto& [file, tensor, what] : cases) {
    const auto model = WithTensor(file, tensor, kLargest);
    ASSERT_TRUE(model.ok()) << model.status();
    RenderRequest request = SmallRequest();
    request.width = request.height = 64;
    const absl::Status status = Renderer(*model).Render(request).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << tensor << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(what)) << tensor;
    EXPECT_THAT(std::string(status.message()), HasSubstr("try precision fp32")) << tensor;
  }
}

TEST(RendererTest, StopsWhenAskedAndGoesOnAfterwards) {
  Renderer renderer(BuiltIn(Precision::kAuto));
  int asked = 0;
  const auto stopped = renderer.Render(SmallRequest(), {.keep_going = [&] { return ++asked < 3; }});
  EXPECT_EQ(stopped.status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(asked, 3);
  EXPECT_FALSE(Pixels(renderer, SmallRequest()).empty());
}

TEST(ModelTest, NamesItsRenderClass) {
  const auto model = BuiltIn(Precision::kFp32);
  EXPECT_EQ(model->hash().size(), 64u);
  EXPECT_THAT(model->render_class(), ::testing::StartsWith("cpu-"));
  EXPECT_THAT(model->render_class(), ::testing::EndsWith("/fp32/" + model->hash().substr(0, 12)));
  EXPECT_EQ(model->size_multiple(), 8);
}

TEST(ModelTest, AMissingDirectoryIsNotFound) {
  const auto model = Model::Load("/nowhere/at/all", {});
  EXPECT_EQ(model.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(model.status().message()), HasSubstr("/nowhere/at/all"));
}

}  // namespace
}  // namespace tiltshift::engine
