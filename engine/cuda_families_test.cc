// Every family and mode of the engine on the card beside the CPU backend in fp32: text in fp16, the
// UNet and the VAE in bf16, from the configs that the parity tests hold to diffusers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/philox.h"
#include "engine/pipeline.h"
#include "engine/testing/backend_case.h"
#include "engine/testing/parity_case.h"
#include "engine/testing/parity_photo.h"
#include "engine/testing/tiny_lora.h"

namespace tiltshift::engine {
namespace {

// fp16 keeps 11 bits, bf16 8: each rounding costs up to 2^-12 and 2^-9 of a number. A text encoder
// rounds some tens of times on the way, a UNet a hundred; errors of random signs add up as the root
// of that.
constexpr double kTextBound = 1.5e-3, kForwardBound = 1.5e-2;
constexpr float kForwardTimestep = 500;

using testing::Distance;

// One of each kind of network.
std::vector<ParityCase> OneCaseAFamily() {
  const std::set<std::string> wanted = {"sd15",          "sd2",       "sdxl",     "lcm",
                                        "image_refiner", "edit_ddim", "mask_ddim"};
  auto cases = ReadParityCases(TILTSHIFT_SOURCE_DIR);
  std::vector<ParityCase> kept;
  if (!cases.ok()) return kept;
  for (ParityCase& parity : *cases) {
    if (!wanted.contains(parity.name)) continue;
    parity.width = 72;
    parity.height = 64;
    kept.push_back(std::move(parity));
  }
  return kept;
}

struct Outcome {
  std::vector<float> embedding, pooled, forward;
};

Outcome RunFamily(const std::string& folder, const ParityCase& parity, const LoadOptions& options) {
  Outcome outcome;
  const auto model = Model::Load(folder, options);
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return outcome;
  Pipeline pipeline(*model);
  const auto pair = pipeline.Encode({.prompt = parity.prompts[0], .guided = false});
  EXPECT_TRUE(pair.ok()) << pair.status();
  if (!pair.ok()) return outcome;
  outcome.embedding = pair->prompt->embedding;
  outcome.pooled = pair->prompt->pooled;
  const ModelConfig& config = (*model)->impl().config;
  const LatentSize size = {parity.height / config.vae.scale(), parity.width / config.vae.scale()};
  const int64_t cells = int64_t{size.height} * size.width;
  std::vector<float> input(config.unet.in_channels * cells);
  FillNormal(1, 0, input);
  outcome.forward.resize(config.unet.out_channels * cells);
  const absl::Status status = pipeline.Forward(
      {size, kForwardTimestep, pair->prompt, static_cast<float>(parity.guidance_scale)}, input,
      outcome.forward);
  EXPECT_TRUE(status.ok()) << status;
  return outcome;
}

class CudaFamilyTest : public testing::CudaTest {};
class CudaModelTest : public CudaFamilyTest, public ::testing::WithParamInterface<ParityCase> {};

TEST_P(CudaModelTest, IsNearTheCpu) {
  const ParityCase& parity = GetParam();
  const std::string folder = ::testing::TempDir() + "cuda_family_" + parity.name;
  const absl::Status written = WriteParityModel(TILTSHIFT_SOURCE_DIR, parity, folder);
  ASSERT_TRUE(written.ok()) << written;
  const Outcome cpu = RunFamily(folder, parity, {.precision = Precision::kFp32});
  const Outcome card = RunFamily(folder, parity, {.device = Device::kCuda});
  const double text = Distance(card.embedding, cpu.embedding);
  const double forward = Distance(card.forward, cpu.forward);
  EXPECT_LT(text, kTextBound);
  EXPECT_LT(forward, kForwardBound);
  EXPECT_GT(forward, 1e-5) << "not computed twice";
  if (!cpu.pooled.empty()) {
    EXPECT_LT(Distance(card.pooled, cpu.pooled), kTextBound);
  }
  std::printf("  %-16s text %.1e, forward %.1e\n", parity.name.c_str(), text, forward);
}

// Merged before the weights are the card's: into both text encoders and the UNet.
TEST_F(CudaFamilyTest, ALoraIsNearTheCpu) {
  const std::vector<ParityCase> cases = OneCaseAFamily();
  const auto sdxl = std::ranges::find(cases, "sdxl", &ParityCase::name);
  ASSERT_NE(sdxl, cases.end());
  const std::string folder = ::testing::TempDir() + "cuda_lora",
                    file = folder + "/lora.safetensors";
  ASSERT_TRUE(WriteParityModel(TILTSHIFT_SOURCE_DIR, *sdxl, folder).ok());
  ASSERT_TRUE(WriteTinyLora(TILTSHIFT_SOURCE_DIR, "sdxl", file).ok());
  const std::vector<LoraUse> loras = {{file, 0.8}};
  const Outcome cpu = RunFamily(folder, *sdxl, {.precision = Precision::kFp32, .loras = loras});
  const Outcome card = RunFamily(folder, *sdxl, {.device = Device::kCuda, .loras = loras});
  const Outcome plain = RunFamily(folder, *sdxl, {.precision = Precision::kFp32});
  EXPECT_LT(Distance(card.embedding, cpu.embedding), kTextBound);
  EXPECT_LT(Distance(card.pooled, cpu.pooled), kTextBound);
  EXPECT_LT(Distance(card.forward, cpu.forward), kForwardBound);
  EXPECT_GT(Distance(cpu.embedding, plain.embedding), 2 * kTextBound) << "merged nothing";
  EXPECT_GT(Distance(cpu.forward, plain.forward), 2 * kForwardBound) << "merged nothing";
  std::printf("  lora             text %.1e, forward %.1e; without it %.1e, %.1e away\n",
              Distance(card.embedding, cpu.embedding), Distance(card.forward, cpu.forward),
              Distance(cpu.embedding, plain.embedding), Distance(cpu.forward, plain.forward));
}
INSTANTIATE_TEST_SUITE_P(Families, CudaModelTest, ::testing::ValuesIn(OneCaseAFamily()),
                         [](const auto& info) { return info.param.name; });

struct ModeCase {
  const char* name;
  const char* model;  // of tests/goldens/parity/cases.json
  Mode mode;
  SamplerKind sampler;
  Tiling tiling = Tiling::kAuto;
  bool controlled = false;  // by a ControlNet, in the first of the two steps
};
constexpr ModeCase kModes[] = {
    {"text_to_image", "small", Mode::kTextToImage, SamplerKind::kDpmpp2m},
    {"text_to_image_tiled", "small", Mode::kTextToImage, SamplerKind::kDpmpp2mKarras,
     Tiling::kTiles},
    {"image_to_image", "small", Mode::kImageToImage, SamplerKind::kEulerAncestral},
    {"mask_blended", "small", Mode::kInpaint, SamplerKind::kDdim},
    {"edit", "photo", Mode::kEdit, SamplerKind::kEulerAncestral},
    {"inpaint", "mask", Mode::kInpaint, SamplerKind::kDpmpp2m},
    {"small_autoencoder", "taesd", Mode::kImageToImage, SamplerKind::kLcm},
    {"controlled", "small", Mode::kTextToImage, SamplerKind::kDpmpp2m, Tiling::kAuto, true},
};

// A photo and a mask of another size than the render's.
RgbImage Pattern(bool mask) {
  RgbImage image{50, 40, std::vector<uint8_t>(3 * 50 * 40)};
  for (size_t i = 0; i < image.rgb.size(); ++i) {
    image.rgb[i] = static_cast<uint8_t>(mask ? (i / 3 % 50 > 20 ? 255 : 0) : i * 37 % 251);
  }
  return image;
}

class CudaModeTest : public testing::CudaTest, public ::testing::WithParamInterface<ModeCase> {
 protected:
  struct Rendered {
    std::vector<float> latent;
    std::vector<uint8_t> rgb;
  };
  static Rendered Render(const LoadOptions& options, const std::string& folder,
                         const RenderRequest& request) {
    Rendered rendered;
    const auto model = Model::Load(folder, options);
    EXPECT_TRUE(model.ok()) << model.status();
    if (!model.ok()) return rendered;
    Renderer renderer(*model);
    const auto keep = [&](int, std::span<const float> latent) {
      rendered.latent.assign(latent.begin(), latent.end());
    };
    auto picture = renderer.Render(request, {.after_step = keep});
    EXPECT_TRUE(picture.ok()) << picture.status();
    if (picture.ok()) rendered.rgb = std::move(picture->rgb);
    return rendered;
  }
};

// Two steps with guidance: three forwards' errors a step, enlarged by it.
TEST_P(CudaModeTest, IsNearTheCpu) {
  constexpr double kLatentBound = 2e-2, kPictureBound = 2;
  const ModeCase& mode = GetParam();
  const std::string folder = ::testing::TempDir() + "cuda_mode_" + mode.model;
  ASSERT_TRUE(WriteParityModel(TILTSHIFT_SOURCE_DIR, mode.model, folder).ok());
  LoadOptions on_cpu = {.precision = Precision::kFp32}, on_card = {.device = Device::kCuda};
  if (mode.controlled) {
    const std::string control = folder + "_control";
    ASSERT_TRUE(WriteParityControl(TILTSHIFT_SOURCE_DIR, "control_small", control).ok());
    on_cpu.controls = on_card.controls = {{control, 0.7}};
  }
  const RgbImage photo = Pattern(false), mask = Pattern(true), edges = ParityControlPicture(0);
  RenderRequest request = {.prompt = "a miniature blue cat",
                           .negative_prompt = "blurry",
                           .seed = 3,
                           .width = 80,
                           .height = 64,
                           .steps = 2,
                           .guidance_scale = 3,
                           .sampler = mode.sampler,
                           .mode = mode.mode,
                           .tiling = mode.tiling};
  if (mode.mode != Mode::kTextToImage) request.photo = photo.view();
  if (mode.mode == Mode::kInpaint) request.mask = mask.view();
  if (mode.controlled) request.controls.push_back({edges.view(), 0, 0.5});
  const Rendered cpu = Render(on_cpu, folder, request);
  const Rendered card = Render(on_card, folder, request);
  ASSERT_EQ(card.rgb.size(), cpu.rgb.size());
  ASSERT_FALSE(cpu.rgb.empty());
  const double latent = Distance(card.latent, cpu.latent);
  double picture = 0;
  for (size_t i = 0; i < cpu.rgb.size(); ++i) picture += std::abs(card.rgb[i] - cpu.rgb[i]);
  picture /= static_cast<double>(cpu.rgb.size());
  EXPECT_LT(latent, kLatentBound);
  EXPECT_GT(latent, 1e-6) << "not computed twice";
  EXPECT_LT(picture, kPictureBound) << "of 255";
  std::printf("  %-24s latent %.1e, picture %.2f of 255\n", mode.name, latent, picture);
}
INSTANTIATE_TEST_SUITE_P(Modes, CudaModeTest, ::testing::ValuesIn(kModes),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace tiltshift::engine
