// The engine against diffusers, stage by stage, from the same noise and prompt: relative L2 in fp32 below 1e-4,
// the tolerance the project promises. Both sides sum the same products in fp32 in another order: each
// layer adds about sqrt(n) 2^-24 of its norm, some 1e-6 over a forward, and twenty guided steps carry that on.
// Goldens: tests/goldens/make_engine_goldens.py.
#include <gtest/gtest.h>

#include "base/hash.h"
#include "engine/cpu/isa.h"
#include "engine/pipeline.h"
#include "engine/testing/goldens.h"
#include "engine/testing/tiny_model.h"

namespace tiltshift::engine {
namespace {

constexpr double kTolerance = 1e-4;
constexpr float kForwardTimestep = 500;
constexpr int kPictureRows = 3;  // the goldens keep every third row
const char kPrompt[] = "a miniature red robot on a round wooden base, studio light";
const char kNegative[] = "blurry";

Goldens Open(const std::string& name) {
  auto goldens = Goldens::Open(TILTSHIFT_SOURCE_DIR, name);
  EXPECT_TRUE(goldens.ok()) << goldens.status();
  return *std::move(goldens);
}

void ExpectParity(const std::string& directory, const Goldens& goldens, LoadOptions load, double tolerance) {
  const auto model = Model::Load(directory, load);
  ASSERT_TRUE(model.ok()) << model.status();
  Pipeline pipeline(*model);
  const std::vector<int64_t> shape = goldens.Shape("noise");
  const LatentSize size = {static_cast<int>(shape[1]), static_cast<int>(shape[2])};
  const std::vector<float> noise = goldens.Floats("noise");
  const auto prompt = pipeline.Encode(kPrompt);
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  const auto negative = pipeline.Encode(kNegative);
  ASSERT_TRUE(negative.ok()) << negative.status();
  const auto expect = [&](const char* what, std::span<const float> ours, std::span<const float> golden) {
    const double error = RelativeL2(ours, golden);
    std::printf("  %-18s relative L2 %.2e\n", what, error);
    EXPECT_LT(error, tolerance) << what;
  };

  expect("text embedding", (*prompt)->embedding, goldens.Floats("text"));

  std::vector<float> output(noise.size());
  ASSERT_TRUE(pipeline.Forward({size, kForwardTimestep, *prompt}, noise, output).ok());
  expect("unet forward", output, goldens.Floats("forward"));

  const std::pair<const char*, SamplerKind> kinds[] = {
      {"ddim", SamplerKind::kDdim}, {"euler", SamplerKind::kEuler}, {"dpmpp_2m", SamplerKind::kDpmpp2m}};
  for (const auto& [name, kind] : kinds) {
    const auto sampler = MakeSampler(kind, (*model)->impl().config.noise, {.steps = 20});
    ASSERT_TRUE(sampler.ok()) << sampler.status();
    std::vector<float> latent = noise;
    for (float& value : latent) value *= (*sampler)->initial_noise_sigma();
    const DenoiseOptions options = {size, sampler->get(), *prompt, *negative, 4.0f};
    ASSERT_TRUE(pipeline.Denoise(options, nullptr, latent).ok());
    expect(name, latent, goldens.Floats(std::string("latent.") + name));
  }

  std::vector<float> picture(pipeline.PictureFloats(size));
  ASSERT_TRUE(pipeline.coder().Decode(size, goldens.Floats("latent.ddim"), picture).ok());
  const size_t row = picture.size() / (size.height * (*model)->impl().config.vae.scale());
  expect("picture", EveryRow(picture, row, kPictureRows), goldens.Floats("picture"));
}

TEST(ParityTest, BuiltInModel) {
  const std::string directory = std::string(TILTSHIFT_SOURCE_DIR) + "/models/diorama";
  const Goldens goldens = Open("engine_diorama.safetensors");
  for (const char* file : {"/text_encoder/model.safetensors", "/unet/diffusion_pytorch_model.safetensors",
                           "/vae/diffusion_pytorch_model.safetensors"}) {
    const auto bytes = ReadFile(directory + file);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    ASSERT_NE(goldens.file().find(Sha256Hex(*bytes)), std::string::npos)
        << "models/diorama" << file << " is not what the goldens were made from: run "
        << "python tests/goldens/make_engine_goldens.py diorama";
  }
  ExpectParity(directory, goldens, {Precision::kFp32}, kTolerance);
}

// bf16 keeps 8 bits: each of the some 150 values a signal passes is rounded by up to 2^-9, 2^-9 / sqrt(3) in the
// mean; sqrt(150) of those are 1.4%. Twice that is allowed.
TEST(ParityTest, Bf16ForwardIsNearFp32) {
  if (!cpu::HasBf16()) GTEST_SKIP() << "no bf16 on this processor";
  const std::string folder = ::testing::TempDir() + "parity_tiny_bf16";
  ASSERT_TRUE(WriteTinyModel(TILTSHIFT_SOURCE_DIR, folder).ok());
  for (const bool tiny : {true, false}) {
    const auto model =
        Model::Load(tiny ? folder : std::string(TILTSHIFT_SOURCE_DIR) + "/models/diorama", {Precision::kBf16});
    ASSERT_TRUE(model.ok()) << model.status();
    const auto fp32 = Model::Load(tiny ? folder : std::string(TILTSHIFT_SOURCE_DIR) + "/models/diorama",
                                  {Precision::kFp32});
    ASSERT_TRUE(fp32.ok()) << fp32.status();
    const std::vector<float> noise =
        Open(tiny ? "engine_tiny.safetensors" : "engine_diorama.safetensors").Floats("noise");
    const int side = tiny ? 16 : 32;
    std::vector<float> outputs[2] = {std::vector<float>(noise.size()), std::vector<float>(noise.size())};
    for (const bool exact : {false, true}) {
      Pipeline pipeline(exact ? *fp32 : *model);
      const auto prompt = pipeline.Encode(kPrompt);
      ASSERT_TRUE(prompt.ok()) << prompt.status();
      ASSERT_TRUE(pipeline.Forward({{side, side}, kForwardTimestep, *prompt}, noise, outputs[exact]).ok());
    }
    const double error = RelativeL2(outputs[0], outputs[1]);
    std::printf("  bf16 forward       relative L2 %.2e\n", error);
    EXPECT_LT(error, 0.028);
    EXPECT_GT(error, 1e-5) << "this was fp32";
  }
}

TEST(ParityTest, RandomModelOfStableDiffusionsKind) {
  const std::string folder = ::testing::TempDir() + "parity_tiny";
  ASSERT_TRUE(WriteTinyModel(TILTSHIFT_SOURCE_DIR, folder).ok());
  const Goldens goldens = Open("engine_tiny.safetensors");
  ExpectParity(folder, goldens, {Precision::kFp32}, kTolerance);
}

}  // namespace
}  // namespace tiltshift::engine
