#include "picture/photo_check.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "absl/strings/str_cat.h"

namespace tiltshift::picture {
namespace {

constexpr int kMeasuredSide = 768;
constexpr int kBlack = 6, kWhite = 249;

// Bounds below which people see it at once; the photos of photo_check_test lie on both sides.
constexpr int kSmallSide = 384;
constexpr double kLongest = 3;  // times the shorter side
constexpr double kBlurred = 25;
constexpr double kDark = 45, kBright = 215, kMuchClipped = 0.4;
constexpr double kFlat = 18;

struct Plane {
  int width = 0, height = 0;
  std::vector<float> lightness;
  float At(int x, int y) const { return lightness[static_cast<size_t>(y) * width + x]; }
};

// Rec. 709 luma, each value the mean of a box.
Plane Shrunk(const Image& photo) {
  const int step =
      std::max(1, (std::max(photo.width, photo.height) + kMeasuredSide - 1) / kMeasuredSide);
  Plane plane{std::max(1, photo.width / step), std::max(1, photo.height / step), {}};
  plane.lightness.reserve(static_cast<size_t>(plane.width) * plane.height);
  for (int y = 0; y < plane.height; ++y) {
    for (int x = 0; x < plane.width; ++x) {
      float sum = 0;
      const int bottom = std::min((y + 1) * step, photo.height),
                right = std::min((x + 1) * step, photo.width);
      for (int v = y * step; v < bottom; ++v) {
        for (int u = x * step; u < right; ++u) {
          const uint8_t* rgb = &photo.rgb[(static_cast<size_t>(v) * photo.width + u) * 3];
          sum += 0.2126f * rgb[0] + 0.7152f * rgb[1] + 0.0722f * rgb[2];
        }
      }
      plane.lightness.push_back(sum / static_cast<float>((bottom - y * step) * (right - x * step)));
    }
  }
  return plane;
}

struct Moments {
  double sum = 0, squares = 0;
  size_t count = 0;
  void Add(double value) {
    sum += value;
    squares += value * value;
    ++count;
  }
  double mean() const { return count == 0 ? 0 : sum / static_cast<double>(count); }
  double variance() const {
    return count == 0 ? 0 : std::max(0.0, squares / static_cast<double>(count) - mean() * mean());
  }
};

}  // namespace

PhotoMeasures Measure(const Image& photo) {
  const Plane plane = Shrunk(photo);
  Moments lightness, laplacian;
  size_t black = 0, white = 0;
  for (const float value : plane.lightness) {
    lightness.Add(value);
    black += value < kBlack;
    white += value > kWhite;
  }
  for (int y = 1; y + 1 < plane.height; ++y) {
    for (int x = 1; x + 1 < plane.width; ++x)
      laplacian.Add(plane.At(x - 1, y) + plane.At(x + 1, y) + plane.At(x, y - 1) +
                    plane.At(x, y + 1) - 4 * plane.At(x, y));
  }
  const auto all = static_cast<double>(plane.lightness.size());
  return {.width = photo.width,
          .height = photo.height,
          .sharpness = laplacian.variance(),
          .mean = lightness.mean(),
          .contrast = std::sqrt(lightness.variance()),
          .black = static_cast<double>(black) / all,
          .white = static_cast<double>(white) / all};
}

std::vector<PhotoWarning> CheckPhoto(const PhotoMeasures& m) {
  std::vector<PhotoWarning> warnings;
  const auto warn = [&](const char* about, const std::string& words) {
    warnings.push_back({about, words});
  };
  const int shorter = std::min(m.width, m.height), longer = std::max(m.width, m.height);
  if (shorter < kSmallSide) {
    warn("size", absl::StrCat("it is only ", m.width, "x", m.height,
                              " pixels, so details will be invented; send one of at least ",
                              kSmallSide, " on the shorter side"));
  } else if (longer > kLongest * shorter) {
    warn("size",
         absl::StrCat("it is ", m.width, "x", m.height, ", very long; cut it to what matters"));
  }
  if (m.mean < kDark || m.black > kMuchClipped) {
    warn("exposure", "it is dark: what is in shadow will be lost; take it in more light");
  } else if (m.mean > kBright || m.white > kMuchClipped) {
    warn("exposure", "it is too bright: much of it is plain white; take it in softer light");
  } else if (m.contrast < kFlat) {
    warn("contrast",
         "it has little contrast, as in fog or through a dirty lens; take it in clearer light");
  }
  // In the dark nothing is sharp, and it has been said why.
  if (m.sharpness < kBlurred && warnings.empty())
    warn("sharpness", "it is blurred; hold still, or come closer so that it can focus");
  return warnings;
}

}  // namespace tiltshift::picture
