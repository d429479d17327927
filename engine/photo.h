// A photo or a mask as it comes in: 8-bit RGB of any size, brought to the render's size and to
// floats.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"

namespace tiltshift::engine {

// Pixels of the caller's, who keeps them while they are used.
struct RgbView {
  int width = 0;
  int height = 0;
  std::span<const uint8_t> rgb;  // [height, width, 3]
  bool empty() const { return width == 0 && height == 0 && rgb.empty(); }
};

struct RgbImage {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> rgb;
  RgbView view() const { return {width, height, rgb}; }
};

// InvalidArgument: no pixels, more than 16,384 a side or 64 million in all, or another number of
// bytes than the sides say; `name` is what the message calls it.
absl::Status CheckPhoto(const char* name, const RgbView& photo);

// By Lanczos' filter of three lobes, widened where the picture shrinks, in fixed point, widths
// before heights: to the bit what Pillow's resize gives (Image.LANCZOS), which diffusers' pipelines
// see. (Pillow 13 takes heights first where that is less work, which rounds otherwise.)
struct PhotoSize {
  int width = 0;
  int height = 0;
};
RgbImage Resized(const RgbView& photo, PhotoSize size);

// The largest part of `photo` that has the sides' proportions of `size`, from its middle: what a render of that size
// is given so that nothing is stretched. Of a photo and a mask of one size it is the same part.
RgbImage MiddleOf(const RgbView& photo, PhotoSize size);

// Planar [3, height, width], -1..1.
std::vector<float> ToPlanar(const RgbView& photo);

// [height, width]: 1 where the mask is light (at least half of white), 0 elsewhere.
std::vector<uint8_t> ToMask(const RgbView& mask);

}  // namespace tiltshift::engine
