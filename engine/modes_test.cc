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
