#include "picture/photo_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

namespace tiltshift::picture {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Grey, by lightness 0..255 at each place.
Image Grey(int width, int height, const std::function<double(int x, int y)>& at) {
  Image image{width, height, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x)
      image.rgb.insert(image.rgb.end(), 3, static_cast<uint8_t>(std::clamp(at(x, y), 0.0, 255.0)));
  }
  return image;
}

// Waves as fine as a sharp photo's, over broad light and shade.
double Sharp(int x, int y) {
  return 128 + 60 * std::sin(x * 0.01) * std::sin(y * 0.013) +
         25 * std::sin(x * 0.9) * std::sin(y * 1.1);
}
// The broad part alone: what a blur leaves.
double Blurred(int x, int y) { return 128 + 60 * std::sin(x * 0.01) * std::sin(y * 0.013); }

std::vector<std::string> About(const Image& image) {
  std::vector<std::string> about;
  for (const PhotoWarning& warning : CheckPhoto(Measure(image))) {
    EXPECT_GT(warning.words.size(), 20u);
    about.push_back(warning.about);
  }
  return about;
}

TEST(PhotoCheckTest, AGoodPhotoNeedsNoWords) {
  EXPECT_THAT(About(Grey(900, 700, Sharp)), IsEmpty());
}

TEST(PhotoCheckTest, EachFaultIsNamed) {
  EXPECT_THAT(About(Grey(200, 300, Sharp)), ElementsAre("size"));
  EXPECT_THAT(About(Grey(2'000, 400, Sharp)), ElementsAre("size"));
  EXPECT_THAT(About(Grey(900, 700, Blurred)), ElementsAre("sharpness"));
  EXPECT_THAT(About(Grey(900, 700, [](int x, int y) { return Sharp(x, y) * 0.2; })),
              ElementsAre("exposure"));
  EXPECT_THAT(About(Grey(900, 700, [](int x, int y) { return 160 + Sharp(x, y) * 0.6; })),
              ElementsAre("exposure"));
  EXPECT_THAT(About(Grey(900, 700, [](int x, int y) { return 100 + Sharp(x, y) * 0.2; })),
              ElementsAre("contrast"));
}

TEST(PhotoCheckTest, AnySizeCanBeMeasured) {
  for (const auto& [width, height] : {std::pair{1, 1}, {1, 3'000}, {3'001, 2}, {769, 768}}) {
    const PhotoMeasures measures = Measure(Grey(width, height, Sharp));
    EXPECT_TRUE(std::isfinite(measures.sharpness) && std::isfinite(measures.contrast));
  }
}

// In steps of its box, a plane's means are the photo's.
TEST(PhotoCheckTest, ShrinkingKeepsLightness) {
  const PhotoMeasures measures =
      Measure(Grey(1'536, 1'200, [](int x, int) { return x % 2 == 0 ? 100 : 140; }));
  EXPECT_NEAR(measures.mean, 120, 0.5);
  EXPECT_LT(measures.contrast, 1);
}

}  // namespace
}  // namespace tiltshift::picture
