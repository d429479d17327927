// The modes against diffusers' pipelines, stage by stage: the photo resized, the encoder's moments,
// the latent after every step and the picture, from the same photo, mask and noise. Relative L2 in
// fp32 below 1e-4, as in parity_test.cc. Goldens: tests/goldens/make_mode_goldens.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "engine/pipeline.h"
#include "engine/starting_point.h"
#include "engine/testing/tiny_model.h"

namespace tiltshift::engine {
namespace {

using ::testing::HasSubstr;

constexpr double kTolerance = 1e-4;
constexpr int kWidth = 80, kHeight = 64;
constexpr int kPhotoWidth = 100, kPhotoHeight = 75;
constexpr int kPictureRows = 8,
              kChannels = 2;  // every eighth row and every second channel are in the goldens

double RelativeL2(std::span<const float> ours, std::span<const float> golden) {
  EXPECT_EQ(ours.size(), golden.size());
  double difference = 0, norm = 0;
  for (size_t i = 0; i < golden.size(); ++i) {
    difference += (double{ours[i]} - golden[i]) * (double{ours[i]} - golden[i]);
    norm += double{golden[i]} * golden[i];
  }
  return std::sqrt(difference / norm);
}

class Goldens {
 public:
  Goldens() {
    const std::string path = TILTSHIFT_SOURCE_DIR "/tests/goldens/modes.safetensors";
    absl::StatusOr<std::string> bytes = ReadFile(path);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    if (bytes.ok()) bytes_ = *std::move(bytes);
    absl::StatusOr<TensorMap> tensors = ParseSafetensors(bytes_, path);
    EXPECT_TRUE(tensors.ok()) << tensors.status();
    if (tensors.ok()) tensors_ = *std::move(tensors);
  }
  std::vector<float> Floats(const std::string& name) const {
    const TensorView& view = tensors_.at(name);
    std::vector<float> floats(view.elements());
    EXPECT_TRUE(CopyAsFloat(view, floats).ok()) << name;
    return floats;
  }
  std::vector<uint8_t> Bytes(const std::string& name) const {
    const std::string_view bytes = tensors_.at(name).bytes;
    return {bytes.begin(), bytes.end()};
  }

 private:
  std::string bytes_;
  TensorMap tensors_;
};

RgbImage Photo() {
  RgbImage photo{kPhotoWidth, kPhotoHeight, {}};
  for (int y = 0; y < kPhotoHeight; ++y) {
    for (int x = 0; x < kPhotoWidth; ++x) {
      for (const int value : {x * 255 / 99, y * 255 / 74, (x * 7 + y * 13) % 256}) {
        photo.rgb.push_back(static_cast<uint8_t>(value));
      }
    }
  }
  return photo;
}

RgbImage Mask() {
  RgbImage mask{kPhotoWidth, kPhotoHeight, {}};
  for (int y = 0; y < kPhotoHeight; ++y) {
    for (int x = 0; x < kPhotoWidth; ++x) {
      const bool inside = (x - 60) * (x - 60) * 4 + (y - 35) * (y - 35) * 9 < 6000;
      mask.rgb.insert(mask.rgb.end(), 3, inside ? 255 : 0);
    }
  }
  return mask;
}

// Of each set, made once a test process.
std::shared_ptr<const Model> LoadSet(const std::string& set) {
  static auto& known = *new std::map<std::string, std::shared_ptr<const Model>>;
  if (known[set] != nullptr) return known[set];
  const std::string folder = ::testing::TempDir() + "modes_test_" + set;
  EXPECT_TRUE(WriteTinyModel(TILTSHIFT_SOURCE_DIR, folder, "modes_" + set).ok());
  auto model = Model::Load(folder, {Precision::kFp32});
  EXPECT_TRUE(model.ok()) << model.status();
  return known[set] = model.ok() ? *model : nullptr;
}

struct Case {
  const char* set;
  const char* mode;
  const char* sampler;
  const char* strength;
  const char* image_guidance;

  std::string name() const {
    return absl::StrCat(set, ".", mode, ".", sampler, ".", strength, ".", image_guidance);
  }
};

constexpr Case kCases[] = {
    {"base", "text", "euler_a", "1", "0"},     {"base", "text", "dpmpp_2m_karras", "1", "0"},
    {"base", "text", "lcm", "1", "0"},         {"base", "image", "ddim", "0.6", "0"},
    {"base", "image", "euler", "0.6", "0"},    {"base", "image", "euler_a", "0.6", "0"},
    {"base", "image", "dpmpp_2m", "0.8", "0"}, {"base", "image", "dpmpp_2m", "1", "0"},
    {"base", "inpaint", "ddim", "1", "0"},     {"base", "inpaint", "euler", "0.8", "0"},
    {"inpaint", "inpaint", "ddim", "1", "0"},  {"inpaint", "inpaint", "dpmpp_2m", "0.8", "0"},
    {"edit", "edit", "euler_a", "1", "1.5"},   {"edit", "edit", "ddim", "1", "1.5"},
    {"edit", "edit", "ddim", "1", "0.5"},      {"taesd", "image", "ddim", "0.6", "0"}};

SamplerKind Kind(const std::string& name) {
  const std::pair<const char*, SamplerKind> kinds[] = {
      {"ddim", SamplerKind::kDdim},
      {"euler", SamplerKind::kEuler},
      {"euler_a", SamplerKind::kEulerAncestral},
      {"dpmpp_2m", SamplerKind::kDpmpp2m},
      {"dpmpp_2m_karras", SamplerKind::kDpmpp2mKarras},
      {"lcm", SamplerKind::kLcm}};
  for (const auto& [known, kind] : kinds) {
    if (name == known) return kind;
  }
  ADD_FAILURE() << name;
  return SamplerKind::kModelDefault;
}

Mode ModeOf(const std::string& name) {
  return name == "text"    ? Mode::kTextToImage
         : name == "image" ? Mode::kImageToImage
         : name == "edit"  ? Mode::kEdit
                           : Mode::kInpaint;
}

class ModesTest : public ::testing::TestWithParam<Case> {
 protected:
  RenderRequest Request() const {
    RenderRequest request;
    request.prompt = "a miniature blue cat on a round wooden base";
    request.negative_prompt = "blurry";
    request.seed = 2026;
    request.width = kWidth;
    request.height = kHeight;
    request.steps = 5;
    request.guidance_scale = 3;
    request.sampler = Kind(GetParam().sampler);
    request.mode = ModeOf(GetParam().mode);
    if (request.mode != Mode::kTextToImage) request.photo = photo_.view();
    if (request.mode == Mode::kInpaint) request.mask = mask_.view();
    request.strength = std::stod(GetParam().strength);
    request.image_guidance_scale = std::stod(GetParam().image_guidance);
    return request;
  }
  const RgbImage photo_ = Photo(), mask_ = Mask();
  const Goldens goldens_;
};

TEST_P(ModesTest, EqualsDiffusersAfterEveryStep) {
  Renderer renderer(LoadSet(GetParam().set));
  const std::vector<float> golden = goldens_.Floats(GetParam().name() + ".latents");
  size_t at = 0;
  double worst = 0;
  const auto compare = [&](int step, std::span<const float> latent) {
    const size_t plane = latent.size() / 4;
    std::vector<float> kept;
    for (size_t c = 0; c < 4; c += kChannels) {
      kept.insert(kept.end(), latent.begin() + c * plane, latent.begin() + (c + 1) * plane);
    }
    ASSERT_LE(at + kept.size(), golden.size()) << "more steps than diffusers makes";
    const double error = RelativeL2(kept, std::span(golden).subspan(at, kept.size()));
    EXPECT_LT(error, kTolerance) << "after step " << step;
    worst = std::max(worst, error);
    at += kept.size();
  };
  const auto picture = renderer.RenderWatched(Request(), compare);
  ASSERT_TRUE(picture.ok()) << picture.status();
  EXPECT_EQ(at, golden.size()) << "fewer steps than diffusers makes";

  // The golden has 0..1 as the pipelines give it; bytes are that rounded.
  const std::vector<float> rows = goldens_.Floats(GetParam().name() + ".picture");
  const size_t row = 3 * kWidth;
  for (size_t i = 0; i < rows.size(); ++i) {
    const int ours = picture->rgb[i / row * kPictureRows * row + i % row];
    ASSERT_NEAR(ours, rows[i] * 255, 0.51)
        << "row " << i / row * kPictureRows << ", byte " << i % row;
  }
  std::printf("  %-36s relative L2 %.2e\n", GetParam().name().c_str(), worst);
}

INSTANTIATE_TEST_SUITE_P(Cases, ModesTest, ::testing::ValuesIn(kCases), [](const auto& info) {
  std::string name = info.param.name();
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
});

TEST(PhotoTest, ResizesAsPillow) {
  const Goldens goldens;
  const RgbImage photo = Photo();
  EXPECT_EQ(Resized(photo.view(), {kWidth, kHeight}).rgb, goldens.Bytes("photo"));
  EXPECT_EQ(Resized(photo.view(), {131, 90}).rgb, goldens.Bytes("photo.larger"));
  EXPECT_EQ(Resized(photo.view(), {kPhotoWidth, kPhotoHeight}).rgb, photo.rgb);
}

TEST(PhotoTest, TheEncodersMomentsEqualDiffusers) {
  const Goldens goldens;
  for (const std::string set : {"base", "taesd"}) {
    Pipeline pipeline(LoadSet(set));
    const RgbImage photo = Resized(Photo().view(), {kWidth, kHeight});
    std::vector<float> moments;
    ASSERT_TRUE(
        pipeline.coder().Encode({kHeight / 4, kWidth / 4}, ToPlanar(photo.view()), &moments).ok());
    const double error = RelativeL2(moments, goldens.Floats("moments." + set));
    std::printf("  moments, %-28s relative L2 %.2e\n", set.c_str(), error);
    EXPECT_LT(error, kTolerance);
  }
}

class ModeErrorsTest : public ::testing::Test {
 protected:
  std::string Error(const std::string& set, Mode mode,
                    const std::function<void(RenderRequest&)>& change = nullptr) {
    RenderRequest request;
    request.width = kWidth;
    request.height = kHeight;
    request.steps = 2;
    request.mode = mode;
    if (mode != Mode::kTextToImage) request.photo = photo_.view();
    if (mode == Mode::kInpaint) request.mask = mask_.view();
    if (change) change(request);
    Renderer renderer(LoadSet(set));
    const absl::Status status = renderer.Render(request).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  }
  const RgbImage photo_ = Photo(), mask_ = Mask();
};

TEST_F(ModeErrorsTest, AModelDoesWhatItWasMadeFor) {
  EXPECT_THAT(Error("base", Mode::kEdit),
              HasSubstr("mode edit: this model renders text-to-image, image-to-image"));
  EXPECT_THAT(Error("edit", Mode::kTextToImage),
              HasSubstr("mode text-to-image: this model edits photos"));
  EXPECT_THAT(Error("inpaint", Mode::kImageToImage),
              HasSubstr("mode image-to-image: this model fills in masks"));
}

TEST_F(ModeErrorsTest, PhotosAndMasksAreLookedAtFirst) {
  const auto photo_error = [&](int width, int height, size_t bytes) {
    const std::vector<uint8_t> pixels(bytes);
    return Error("base", Mode::kImageToImage, [&](RenderRequest& r) {
      r.photo = {width, height, pixels};
    });
  };
  EXPECT_THAT(photo_error(0, 0, 0), HasSubstr("photo is 0x0; it must be 1x1 to 16384 a side"));
  EXPECT_THAT(photo_error(60000, 60000, 0), HasSubstr("photo is 60000x60000"));
  EXPECT_THAT(photo_error(16384, 16384, 0), HasSubstr("64 million pixels in all"));
  EXPECT_THAT(photo_error(-3, 5, 0), HasSubstr("photo is -3x5"));
  EXPECT_THAT(photo_error(10, 10, 299), HasSubstr("photo has 299 bytes; 10x10 in RGB are 300"));
  EXPECT_THAT(Error("base", Mode::kInpaint, [](RenderRequest& r) { r.mask = {}; }),
              HasSubstr("mask is 0x0"));
  const std::vector<uint8_t> small(3 * 10 * 10);
  EXPECT_THAT(Error("base", Mode::kInpaint,
                    [&](RenderRequest& r) {
                      r.mask = {10, 10, small};
                    }),
              HasSubstr("mask is 10x10, photo is 100x75; they must be of one size"));
  EXPECT_THAT(Error("base", Mode::kTextToImage, [&](RenderRequest& r) { r.photo = photo_.view(); }),
              HasSubstr("mode text-to-image takes no photo"));
  EXPECT_THAT(Error("base", Mode::kImageToImage, [&](RenderRequest& r) { r.mask = mask_.view(); }),
              HasSubstr("mode image-to-image takes no mask"));
}

TEST_F(ModeErrorsTest, NumbersAreInBounds) {
  const auto strength_error = [&](double strength) {
    return Error("base", Mode::kImageToImage, [&](RenderRequest& r) { r.strength = strength; });
  };
  EXPECT_THAT(strength_error(0), HasSubstr("strength is 0; it must be above 0 and at most 1"));
  EXPECT_THAT(strength_error(1.01), HasSubstr("strength is 1.01"));
  EXPECT_THAT(strength_error(std::nan("")), HasSubstr("strength is nan"));
  EXPECT_THAT(strength_error(0.3), HasSubstr("strength 0.3 leaves none of 2 steps"));
  EXPECT_THAT(
      Error("edit", Mode::kEdit, [](RenderRequest& r) { r.image_guidance_scale = std::nan(""); }),
      HasSubstr("image_guidance_scale is nan; it must be 0 to 100"));
  EXPECT_THAT(Error("base", Mode::kInpaint, [](RenderRequest& r) { r.width = 81; }),
              HasSubstr("width is 81"));
}

}  // namespace
}  // namespace tiltshift::engine
