// Every family against diffusers' own pipelines, stage by stage: tests/goldens/parity/cases.json is
// the table of renders, make_goldens.py beside it what the other side does.
//
// Relative L2 in fp32 below 1e-4, the tolerance the project promises; parity_test.cc says why that
// is enough.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/philox.h"
#include "engine/pipeline.h"
#include "engine/prompt_text.h"
#include "engine/testing/parity_case.h"

namespace tiltshift::engine {
namespace {

constexpr double kTolerance = 1e-4;
constexpr float kForwardTimestep = 500;
constexpr int kEmbeddingRows = 5;  // the goldens keep every fifth token
constexpr int kPictureRows = 9;    // and every ninth line

std::vector<ParityCase> Cases() {
  auto cases = ReadParityCases(TILTSHIFT_SOURCE_DIR);
  return cases.ok() ? *std::move(cases) : std::vector<ParityCase>();
}

TEST(FamilyParityTest, TheTableIsRead) { EXPECT_GE(Cases().size(), 15u); }

// Rows 0, every, 2 * every, ... of as many floats each.
std::vector<float> EveryRow(std::span<const float> values, size_t row, size_t every) {
  std::vector<float> kept;
  for (size_t at = 0; at < values.size(); at += every * row) {
    kept.insert(kept.end(), values.begin() + at, values.begin() + at + row);
  }
  return kept;
}

// One prompt of a case, on its way.
class Comparison {
 public:
  Comparison(Pipeline* pipeline, const ParityCase& parity, const ParityGoldens& goldens,
             size_t index)
      : pipeline_(*pipeline),
        config_(pipeline->model().config),
        parity_(parity),
        goldens_(goldens),
        index_(index),
        size_{parity.height / config_.vae.scale(), parity.width / config_.vae.scale()} {}

  void Tokens() {
    const auto pieces = ParsePrompt(parity_.prompts[index_]);
    ASSERT_TRUE(pieces.ok()) << pieces.status();
    std::vector<int32_t> ids;
    const size_t tokens = goldens_.Ints(Name("ids")).size() / pipeline_.model().texts.size();
    for (const Model::Impl::Text& text : pipeline_.model().texts) {
      auto part = TokenizePrompt(text.tokenizer, *pieces);
      ASSERT_TRUE(part.ok()) << part.status();
      PadToChunks(text.tokenizer, static_cast<int>(tokens) / text.tokenizer.length(), &*part);
      ids.insert(ids.end(), part->ids.begin(), part->ids.end());
    }
    EXPECT_EQ(ids, goldens_.Ints(Name("ids")));
  }

  void Text() {
    const bool guided = parity_.guidance_scale > 1 && config_.unet.guidance_embed_dim == 0;
    const auto pair = pipeline_.Encode({.prompt = parity_.prompts[index_],
                                        .guided = guided,
                                        .negative = parity_.negative_prompt,
                                        .clip_skip = parity_.clip_skip});
    ASSERT_TRUE(pair.ok()) << pair.status();
    pair_ = *pair;
    Expect("embedding",
           EveryRow(pair_.prompt->embedding, config_.unet.cross_attention_dim, kEmbeddingRows));
    Expect("pooled", pair_.prompt->pooled);
    if (guided) {
      Expect("negative",
             EveryRow(pair_.negative->embedding, config_.unet.cross_attention_dim, kEmbeddingRows));
    }
  }

  void Forward() {
    const int64_t cells = int64_t{size_.height} * size_.width;
    std::vector<float> input(config_.unet.in_channels * cells),
        output(config_.unet.out_channels * cells);
    FillNormal(Seed(), 0, input);
    const float guidance_scale = static_cast<float>(parity_.guidance_scale);
    const absl::Status status =
        pipeline_.Forward({size_, kForwardTimestep, pair_.prompt, guidance_scale}, input, output);
    ASSERT_TRUE(status.ok()) << status;
    Expect("forward", output);
  }

  void TextToImage() {
    const auto sampler =
        MakeSampler(SamplerKind::kModelDefault, config_.noise, {.steps = parity_.steps});
    ASSERT_TRUE(sampler.ok()) << sampler.status();
    std::vector<float> latent(pipeline_.LatentFloats(size_));
    FillNormal(Seed(), 0, latent);
    for (float& value : latent) value *= (*sampler)->initial_noise_sigma();
    DenoiseOptions options = {.size = size_,
                              .sampler = sampler->get(),
                              .prompt = pair_.prompt,
                              .negative = pair_.negative,
                              .guidance_scale = static_cast<float>(parity_.guidance_scale),
                              .seed = Seed()};
    std::vector<float> latents;
    const auto keep = [&] {
      latents.insert(latents.end(), latent.begin(), latent.end());
      return true;
    };
    const absl::Status status = pipeline_.Denoise(options, keep, latent);
    ASSERT_TRUE(status.ok()) << status;
    keep();
    ExpectSteps(std::span(latents).subspan(latent.size()));
    std::vector<float> picture(pipeline_.PictureFloats(size_));
    ASSERT_TRUE(pipeline_.coder().Decode(size_, latent, picture).ok());
    Expect("picture", EveryRow(picture, picture.size() / parity_.height, kPictureRows));
  }

 private:
  std::string Name(const std::string& stage) const { return absl::StrCat(index_, ".", stage); }
  uint64_t Seed() const { return parity_.seed + index_; }

  void Expect(const std::string& stage, std::span<const float> ours) {
    Compare(stage, ours, goldens_.Floats(Name(stage)));
  }

  // After each step, not only after the last.
  void ExpectSteps(std::span<const float> ours) {
    const std::vector<float> golden = goldens_.Floats(Name("latents"));
    ASSERT_EQ(ours.size(), golden.size());
    const size_t floats = ours.size() / parity_.steps;
    for (int step = 0; step < parity_.steps; ++step) {
      Compare(absl::StrCat("latent ", step), ours.subspan(step * floats, floats),
              std::span(golden).subspan(step * floats, floats));
    }
  }

  void Compare(const std::string& stage, std::span<const float> ours,
               std::span<const float> golden) {
    ASSERT_EQ(ours.size(), golden.size()) << stage;
    double difference = 0, norm = 0;
    for (size_t i = 0; i < golden.size(); ++i) {
      difference += (double{ours[i]} - golden[i]) * (double{ours[i]} - golden[i]);
      norm += double{golden[i]} * golden[i];
    }
    const double error = norm == 0 ? std::sqrt(difference) : std::sqrt(difference / norm);
    std::printf("  %-18s %zu %-12s relative L2 %.2e\n", parity_.name.c_str(), index_, stage.c_str(),
                error);
    EXPECT_LT(error, kTolerance) << stage << " of prompt " << index_;
  }

  Pipeline& pipeline_;
  const ModelConfig& config_;
  const ParityCase& parity_;
  const ParityGoldens& goldens_;
  size_t index_;
  LatentSize size_;
  PromptPair pair_;
};

class FamilyParity : public ::testing::TestWithParam<ParityCase> {};

TEST_P(FamilyParity, EqualsDiffusers) {
  const ParityCase& parity = GetParam();
  const std::string folder = ::testing::TempDir() + "family_" + parity.name;
  const absl::Status written = WriteParityModel(TILTSHIFT_SOURCE_DIR, parity, folder);
  ASSERT_TRUE(written.ok()) << written;
  const auto goldens = ParityGoldens::Open(TILTSHIFT_SOURCE_DIR, parity.name);
  ASSERT_TRUE(goldens.ok()) << goldens.status();
  const auto model = Model::Load(folder, {Precision::kFp32});
  ASSERT_TRUE(model.ok()) << model.status();
  Pipeline pipeline(*model);
  for (size_t i = 0; i < parity.prompts.size(); ++i) {
    Comparison comparison(&pipeline, parity, *goldens, i);
    comparison.Tokens();
    comparison.Text();
    if (HasFatalFailure()) return;
    comparison.Forward();
    if (parity.mode == "text_to_image") comparison.TextToImage();
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, FamilyParity, ::testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace tiltshift::engine
