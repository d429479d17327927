// Every family and mode against diffusers' own pipelines, stage by stage:
// tests/goldens/parity/cases.json is the table of renders, make_goldens.py beside it what the other
// side does.
//
// Relative L2 in fp32 below 1e-4, the tolerance the project promises; parity_test.cc says why that
// is enough.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/philox.h"
#include "engine/pipeline.h"
#include "engine/prompt_text.h"
#include "engine/starting_point.h"
#include "engine/testing/goldens.h"
#include "engine/testing/parity_case.h"
#include "engine/testing/parity_photo.h"

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

TEST(FamilyParityTest, TheTableIsRead) { EXPECT_GE(Cases().size(), 44u); }

Mode ModeOf(const std::string& name) {
  const std::pair<const char*, Mode> modes[] = {{"text_to_image", Mode::kTextToImage},
                                                {"image_to_image", Mode::kImageToImage},
                                                {"edit", Mode::kEdit},
                                                {"inpaint", Mode::kInpaint}};
  for (const auto& [known, mode] : modes) {
    if (name == known) return mode;
  }
  ADD_FAILURE() << "no mode " << name;
  return Mode::kTextToImage;
}

// One prompt of a case, on its way.
class Comparison {
 public:
  Comparison(Renderer* renderer, Pipeline* pipeline, const ParityCase& parity,
             const Goldens& goldens, size_t index)
      : renderer_(*renderer),
        pipeline_(*pipeline),
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
    const std::vector<RgbImage> pictures = ControlPictures();
    RenderRequest request = RequestOf({}, {}, pictures);
    for (ControlPicture& control : request.controls) control.start = 0, control.end = 1;
    const auto hints = FindHints(request, 1, pipeline_);
    ASSERT_TRUE(hints.ok()) << hints.status();
    std::vector<ControlHint> controls;
    for (const Hint& hint : *hints) controls.push_back({hint.buffer.get()});
    const absl::Status status = pipeline_.Forward(
        {size_, kForwardTimestep, pair_.prompt, guidance_scale, controls}, input, output);
    ASSERT_TRUE(status.ok()) << status;
    Expect("forward", output);
  }

  void Render() {
    const RgbImage photo = ParityPhoto(), mask = ParityMask();
    const std::vector<RgbImage> pictures = ControlPictures();
    const RenderRequest request = RequestOf(photo, mask, pictures);
    std::vector<float> latents;
    const auto keep = [&](int, std::span<const float> latent) {
      latents.insert(latents.end(), latent.begin(), latent.end());
    };
    const auto picture = renderer_.Render(request, {.after_step = keep});
    ASSERT_TRUE(picture.ok()) << picture.status();
    ExpectSteps(latents);

    const std::span<const float> last = std::span(latents).last(pipeline_.LatentFloats(size_));
    std::vector<float> decoded(pipeline_.PictureFloats(size_));
    ASSERT_TRUE(pipeline_.coder().Decode(size_, last, decoded).ok());
    Expect("picture", EveryRow(decoded, decoded.size() / parity_.height, kPictureRows));
    for (size_t i = 0; i < decoded.size(); ++i) {  // bytes are that rounded
      ASSERT_NEAR(picture->rgb[i], std::clamp(decoded[i] * 127.5f + 127.5f, 0.0f, 255.0f), 0.51)
          << "byte " << i;
    }
  }

 private:
  std::string Name(const std::string& stage) const { return absl::StrCat(index_, ".", stage); }
  uint64_t Seed() const { return parity_.seed + index_; }

  std::vector<RgbImage> ControlPictures() const {
    std::vector<RgbImage> pictures;
    for (size_t i = 0; i < parity_.controls.size(); ++i)
      pictures.push_back(ParityControlPicture(static_cast<int>(i)));
    return pictures;
  }

  RenderRequest RequestOf(const RgbImage& photo, const RgbImage& mask,
                          const std::vector<RgbImage>& pictures) const {
    RenderRequest request;
    request.prompt = parity_.prompts[index_];
    request.negative_prompt = parity_.negative_prompt;
    request.seed = Seed();
    request.width = parity_.width;
    request.height = parity_.height;
    request.steps = parity_.steps;
    request.guidance_scale = parity_.guidance_scale;
    request.clip_skip = parity_.clip_skip;
    request.mode = ModeOf(parity_.mode);
    if (request.mode != Mode::kTextToImage) request.photo = photo.view();
    if (request.mode == Mode::kInpaint) request.mask = mask.view();
    request.strength = parity_.strength;
    request.image_guidance_scale = parity_.image_guidance_scale;
    for (size_t i = 0; i < pictures.size(); ++i)
      request.controls.push_back(
          {pictures[i].view(), parity_.controls[i].start, parity_.controls[i].end});
    return request;
  }

  void Expect(const std::string& stage, std::span<const float> ours) {
    Compare(stage, ours, goldens_.Floats(Name(stage)));
  }

  // After each step, not only after the last.
  void ExpectSteps(std::span<const float> ours) {
    const std::vector<float> golden = goldens_.Floats(Name("latents"));
    ASSERT_EQ(ours.size(), golden.size()) << "another number of steps than diffusers makes";
    const size_t floats = pipeline_.LatentFloats(size_);
    for (size_t step = 0; step < ours.size() / floats; ++step) {
      Compare(absl::StrCat("latent ", step), ours.subspan(step * floats, floats),
              std::span(golden).subspan(step * floats, floats));
    }
  }

  void Compare(const std::string& stage, std::span<const float> ours,
               std::span<const float> golden) {
    ASSERT_EQ(ours.size(), golden.size()) << stage;
    const double error = RelativeL2(ours, golden);
    std::printf("  %-18s %zu %-12s relative L2 %.2e\n", parity_.name.c_str(), index_, stage.c_str(),
                error);
    EXPECT_LT(error, kTolerance) << stage << " of prompt " << index_;
  }

  Renderer& renderer_;
  Pipeline& pipeline_;
  const ModelConfig& config_;
  const ParityCase& parity_;
  const Goldens& goldens_;
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
  const auto goldens =
      Goldens::Open(TILTSHIFT_SOURCE_DIR, absl::StrCat("parity/", parity.name, ".safetensors"));
  ASSERT_TRUE(goldens.ok()) << goldens.status();
  LoadOptions load = {Precision::kFp32};
  for (size_t i = 0; i < parity.controls.size(); ++i)
    load.controls.push_back({ParityControlFolder(folder, i), parity.controls[i].scale});
  const auto model = Model::Load(folder, load);
  ASSERT_TRUE(model.ok()) << model.status();
  Renderer renderer(*model);
  Pipeline pipeline(*model);
  for (size_t i = 0; i < parity.prompts.size(); ++i) {
    Comparison comparison(&renderer, &pipeline, parity, *goldens, i);
    comparison.Tokens();
    comparison.Text();
    if (HasFatalFailure()) return;
    comparison.Forward();
    comparison.Render();
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, FamilyParity, ::testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace tiltshift::engine
