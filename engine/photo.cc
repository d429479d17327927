#include "engine/photo.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tiltshift::engine {
namespace {

constexpr int kMaxSide = 16384;
constexpr int64_t kMaxPixels = 64'000'000;
constexpr int kPrecisionBits = 22;  // 32 less 8 of a pixel and 2 of overshoot

double Sinc(double x) {
  if (x == 0) return 1;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double Lanczos(double x) { return x >= -3 && x < 3 ? Sinc(x) * Sinc(x / 3) : 0; }

// The pixels that one pixel of the result is made of, and their weights.
struct Window {
  int first = 0;
  std::vector<int32_t> weights;
};

std::vector<Window> Windows(int from, int to) {
  const double scale = static_cast<double>(from) / to;
  const double widened = std::max(scale, 1.0);
  const double support = 3 * widened;
  std::vector<Window> windows(to);
  std::vector<double> weights;
  for (int i = 0; i < to; ++i) {
    const double center = (i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(center - support + 0.5));
    const int last = std::min(from, static_cast<int>(center + support + 0.5));
    weights.clear();
    double sum = 0;
    for (int x = first; x < last; ++x) {
      weights.push_back(Lanczos((x - center + 0.5) / widened));
      sum += weights.back();
    }
    windows[i].first = first;
    for (const double weight : weights) {
      const double fixed = weight / sum * (1 << kPrecisionBits);
      windows[i].weights.push_back(static_cast<int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5));
    }
  }
  return windows;
}

// One byte of the result: `stride` bytes lie between two pixels of the window.
uint8_t Weigh(const Window& window, const uint8_t* from, int64_t stride) {
  int32_t sum = 1 << (kPrecisionBits - 1);
  from += window.first * stride;
  for (const int32_t weight : window.weights) {
    sum += weight * *from;
    from += stride;
  }
  return static_cast<uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255));
}

RgbImage ResizedWidth(const RgbView& photo, int width) {
  RgbImage out{width, photo.height, std::vector<uint8_t>(int64_t{3} * width * photo.height)};
  const std::vector<Window> windows = Windows(photo.width, width);
  for (int64_t y = 0; y < photo.height; ++y) {
    const uint8_t* from = photo.rgb.data() + y * photo.width * 3;
    uint8_t* to = out.rgb.data() + y * width * 3;
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) to[3 * x + c] = Weigh(windows[x], from + c, 3);
    }
  }
  return out;
}

RgbImage ResizedHeight(const RgbView& photo, int height) {
  const int64_t line = int64_t{3} * photo.width;
  RgbImage out{photo.width, height, std::vector<uint8_t>(line * height)};
  const std::vector<Window> windows = Windows(photo.height, height);
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t i = 0; i < line; ++i) {
      out.rgb[y * line + i] = Weigh(windows[y], photo.rgb.data() + i, line);
    }
  }
  return out;
}

}  // namespace

absl::Status CheckPhoto(const char* name, const RgbView& photo) {
  const int64_t pixels = int64_t{photo.width} * photo.height;
  if (photo.width < 1 || photo.height < 1 || photo.width > kMaxSide || photo.height > kMaxSide ||
      pixels > kMaxPixels) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, " is ", photo.width, "x", photo.height, "; it must be 1x1 to ", kMaxSide,
        " a side and ", kMaxPixels / 1'000'000, " million pixels in all: scale it down first"));
  }
  if (static_cast<int64_t>(photo.rgb.size()) != 3 * pixels) {
    return absl::InvalidArgumentError(absl::StrCat(name, " has ", photo.rgb.size(), " bytes; ",
                                                   photo.width, "x", photo.height, " in RGB are ",
                                                   3 * pixels));
  }
  return absl::OkStatus();
}

RgbImage Resized(const RgbView& photo, PhotoSize size) {
  RgbImage out{photo.width, photo.height, {}};
  if (photo.width != size.width) out = ResizedWidth(photo, size.width);
  if (photo.height != size.height)
    out = ResizedHeight(out.rgb.empty() ? photo : out.view(), size.height);
  if (out.rgb.empty()) out.rgb.assign(photo.rgb.begin(), photo.rgb.end());
  return out;
}

RgbImage MiddleOf(const RgbView& photo, PhotoSize size) {
  // A side to nearest, and at least a pixel.
  const auto side = [](int64_t other, int64_t this_part, int64_t other_part, int most) {
    const int64_t pixels = (2 * other * this_part + other_part) / (2 * other_part);
    return static_cast<int>(std::clamp<int64_t>(pixels, 1, most));
  };
  RgbImage part;
  part.width = side(photo.height, size.width, size.height, photo.width);
  part.height = side(photo.width, size.height, size.width, photo.height);
  const int64_t left = (photo.width - part.width) / 2, top = (photo.height - part.height) / 2;
  part.rgb.reserve(int64_t{3} * part.width * part.height);
  for (int64_t y = top; y < top + part.height; ++y) {
    const uint8_t* line = photo.rgb.data() + 3 * (y * photo.width + left);
    part.rgb.insert(part.rgb.end(), line, line + int64_t{3} * part.width);
  }
  return part;
}

std::vector<float> ToPlanar(const RgbView& photo) {
  const int64_t pixels = int64_t{photo.width} * photo.height;
  std::vector<float> planar(3 * pixels);
  for (int64_t i = 0; i < pixels; ++i) {
    for (int64_t c = 0; c < 3; ++c) {
      planar[c * pixels + i] = 2.0f * (static_cast<float>(photo.rgb[3 * i + c]) / 255.0f) - 1.0f;
    }
  }
  return planar;
}

std::vector<uint8_t> ToMask(const RgbView& mask) {
  std::vector<uint8_t> light(int64_t{mask.width} * mask.height);
  for (size_t i = 0; i < light.size(); ++i) {
    const uint8_t* rgb = mask.rgb.data() + 3 * i;
    // Luma of ITU-R 601-2 in 16 bits, as Pillow's "L" has it.
    const uint32_t luma = (rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16;
    light[i] = luma >= 128;
  }
  return light;
}

}  // namespace tiltshift::engine
