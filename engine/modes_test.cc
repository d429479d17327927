// What becomes of a photo before any step, against Pillow and diffusers, and what each mode
// refuses. The modes' renders are cases of family_parity_test.cc. Goldens:
// tests/goldens/parity/make_goldens.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "engine/pipeline.h"
#include "engine/testing/goldens.h"
#include "engine/testing/parity_case.h"
#include "engine/testing/parity_photo.h"

namespace tiltshift::engine {
namespace {

using ::testing::HasSubstr;

constexpr double kTolerance = 1e-4;
constexpr int kWidth = 80, kHeight = 64;

Goldens PhotoGoldens() {
  auto goldens = Goldens::Open(TILTSHIFT_SOURCE_DIR, "parity/photo.safetensors");
  EXPECT_TRUE(goldens.ok()) << goldens.status();
  return *std::move(goldens);
}

// A model of parity/cases.json, made once a test process.
std::shared_ptr<const Model> LoadNamed(const std::string& name) {
  static auto& known = *new std::map<std::string, std::shared_ptr<const Model>>;
  if (known[name] != nullptr) return known[name];
  const std::string folder = ::testing::TempDir() + "modes_test_" + name;
  const absl::Status written = WriteParityModel(TILTSHIFT_SOURCE_DIR, name, folder);
  EXPECT_TRUE(written.ok()) << written;
  auto model = Model::Load(folder, {Precision::kFp32});
  EXPECT_TRUE(model.ok()) << model.status();
  return known[name] = model.ok() ? *model : nullptr;
}

TEST(PhotoTest, ResizesAsPillow) {
  const Goldens goldens = PhotoGoldens();
  const RgbImage photo = ParityPhoto();
  EXPECT_EQ(Resized(photo.view(), {kWidth, kHeight}).rgb, goldens.Bytes("80x64"));
  EXPECT_EQ(Resized(photo.view(), {131, 90}).rgb, goldens.Bytes("131x90"));
  EXPECT_EQ(Resized(photo.view(), {kParityPhotoWidth, kParityPhotoHeight}).rgb, photo.rgb);
}

// Red is how far a pixel lies from the left, green how far from the top.
RgbImage Ramps(int width, int height) {
  RgbImage photo{width, height, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      photo.rgb.insert(photo.rgb.end(), {static_cast<uint8_t>(x), static_cast<uint8_t>(y), 0});
    }
  }
  return photo;
}

TEST(PhotoTest, ItsMiddleHasTheRendersShape) {
  struct Case {
    PhotoSize photo, render, part;
    int left, top;
  };
  const Case cases[] = {{{100, 75}, {256, 256}, {75, 75}, 12, 0}, {{75, 100}, {256, 256}, {75, 75}, 0, 12},
                        {{100, 75}, {512, 384}, {100, 75}, 0, 0}, {{100, 75}, {512, 128}, {100, 25}, 0, 25},
                        {{7, 3}, {64, 2048}, {1, 3}, 3, 0},       {{1, 1}, {64, 64}, {1, 1}, 0, 0}};
  for (const Case& c : cases) {
    const RgbImage part = MiddleOf(Ramps(c.photo.width, c.photo.height).view(), c.render);
    EXPECT_EQ(part.width, c.part.width);
    EXPECT_EQ(part.height, c.part.height);
    ASSERT_EQ(part.rgb.size(), 3u * c.part.width * c.part.height);
    EXPECT_EQ(part.rgb[0], c.left);
    EXPECT_EQ(part.rgb[1], c.top);
    EXPECT_EQ(part.rgb[part.rgb.size() - 3], c.left + c.part.width - 1);
    EXPECT_EQ(part.rgb[part.rgb.size() - 2], c.top + c.part.height - 1);
  }
}

TEST(PhotoTest, TheEncodersMomentsEqualDiffusers) {
  const Goldens goldens = PhotoGoldens();
  for (const std::string name : {"small", "taesd"}) {
    Pipeline pipeline(LoadNamed(name));
    const RgbImage photo = Resized(ParityPhoto().view(), {kWidth, kHeight});
    std::vector<float> moments;
    ASSERT_TRUE(
        pipeline.coder().Encode({kHeight / 8, kWidth / 8}, ToPlanar(photo.view()), &moments).ok());
    const double error = RelativeL2(moments, goldens.Floats("moments." + name));
    std::printf("  moments, %-28s relative L2 %.2e\n", name.c_str(), error);
    EXPECT_LT(error, kTolerance);
  }
}

double MeanDifference(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::abs(a[i] - b[i]);
  return sum / static_cast<double>(a.size());
}

// A photo of another shape, cut to the render's: the less strength, the more of it is left.
TEST(PhotoTest, TheBuiltInModelRendersFromAPhoto) {
  const auto model = Model::Load(TILTSHIFT_SOURCE_DIR "/models/diorama", {});
  ASSERT_TRUE(model.ok()) << model.status();
  const PhotoSize size = {128, 128};
  const RgbImage middle = MiddleOf(ParityPhoto().view(), size), seen = Resized(middle.view(), size);
  Renderer renderer(*model);
  const auto distance = [&](double strength) {
    RenderRequest request{.prompt = "a miniature blue cat", .width = size.width, .height = size.height, .steps = 10};
    request.mode = Mode::kImageToImage;
    request.photo = middle.view();
    request.strength = strength;
    const auto picture = renderer.Render(request);
    EXPECT_TRUE(picture.ok()) << picture.status();
    return picture.ok() ? MeanDifference(picture->rgb, seen.rgb) : -1;
  };
  const double little = distance(0.2), some = distance(0.6), all = distance(1);
  EXPECT_LT(little, some);
  EXPECT_LT(some, all);
  EXPECT_LT(little, 0.7 * all);
}

class ModeErrorsTest : public ::testing::Test {
 protected:
  std::string Error(const std::string& model, Mode mode,
                    const std::function<void(RenderRequest&)>& change = nullptr) {
    RenderRequest request;
    request.width = kWidth;
    request.height = kHeight;
    request.steps = 2;
    request.mode = mode;
    if (mode != Mode::kTextToImage) request.photo = photo_.view();
    if (mode == Mode::kInpaint) request.mask = mask_.view();
    if (change) change(request);
    Renderer renderer(LoadNamed(model));
    const absl::Status status = renderer.Render(request).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  }
  const RgbImage photo_ = ParityPhoto(), mask_ = ParityMask();
};

TEST_F(ModeErrorsTest, AModelDoesWhatItWasMadeFor) {
  EXPECT_THAT(Error("small", Mode::kEdit),
              HasSubstr("mode edit: this model renders text-to-image, image-to-image"));
  EXPECT_THAT(Error("photo", Mode::kTextToImage),
              HasSubstr("mode text-to-image: this model edits photos"));
  EXPECT_THAT(Error("mask", Mode::kImageToImage),
              HasSubstr("mode image-to-image: this model fills in masks"));
}

TEST_F(ModeErrorsTest, PhotosAndMasksAreLookedAtFirst) {
  const auto photo_error = [&](int width, int height, size_t bytes) {
    const std::vector<uint8_t> pixels(bytes);
    return Error("small", Mode::kImageToImage, [&](RenderRequest& r) {
      r.photo = {width, height, pixels};
    });
  };
  EXPECT_THAT(photo_error(0, 0, 0), HasSubstr("photo is 0x0; it must be 1x1 to 16384 a side"));
  EXPECT_THAT(photo_error(60000, 60000, 0), HasSubstr("photo is 60000x60000"));
  EXPECT_THAT(photo_error(16384, 16384, 0), HasSubstr("64 million pixels in all"));
  EXPECT_THAT(photo_error(-3, 5, 0), HasSubstr("photo is -3x5"));
  EXPECT_THAT(photo_error(10, 10, 299), HasSubstr("photo has 299 bytes; 10x10 in RGB are 300"));
  EXPECT_THAT(Error("small", Mode::kInpaint, [](RenderRequest& r) { r.mask = {}; }),
              HasSubstr("mask is 0x0"));
  const std::vector<uint8_t> small(3 * 10 * 10);
  EXPECT_THAT(Error("small", Mode::kInpaint,
                    [&](RenderRequest& r) {
                      r.mask = {10, 10, small};
                    }),
              HasSubstr("mask is 10x10, photo is 100x75; they must be of one size"));
  EXPECT_THAT(
      Error("small", Mode::kTextToImage, [&](RenderRequest& r) { r.photo = photo_.view(); }),
      HasSubstr("mode text-to-image takes no photo"));
  EXPECT_THAT(Error("small", Mode::kImageToImage, [&](RenderRequest& r) { r.mask = mask_.view(); }),
              HasSubstr("mode image-to-image takes no mask"));
}

TEST_F(ModeErrorsTest, NumbersAreInBounds) {
  const auto strength_error = [&](double strength) {
    return Error("small", Mode::kImageToImage, [&](RenderRequest& r) { r.strength = strength; });
  };
  EXPECT_THAT(strength_error(0), HasSubstr("strength is 0; it must be above 0 and at most 1"));
  EXPECT_THAT(strength_error(1.01), HasSubstr("strength is 1.01"));
  EXPECT_THAT(strength_error(std::nan("")), HasSubstr("strength is nan"));
  EXPECT_THAT(strength_error(0.3), HasSubstr("strength 0.3 leaves none of 2 steps"));
  EXPECT_THAT(
      Error("photo", Mode::kEdit, [](RenderRequest& r) { r.image_guidance_scale = std::nan(""); }),
      HasSubstr("image_guidance_scale is nan; it must be 0 to 100"));
  EXPECT_THAT(Error("small", Mode::kInpaint, [](RenderRequest& r) { r.width = 81; }),
              HasSubstr("width is 81"));
}

}  // namespace
}  // namespace tiltshift::engine
