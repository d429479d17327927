// A picture as a 3x3 convolution on AMX tiles reads it: with a border of zeros, one pixel wide, and in planes of 32
// channels.
//
// [channels / 32][height + 2][width + 2][32], and a tile's rows more, for the last tile reads on. A tile's 16 pixels
// lie side by side whatever place of the filter they are read for, and the lines that nine places read of a plane
// spread over the whole first-level cache, whatever the number of channels.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/graph.h"

namespace tiltshift::engine::cpu {

struct Bordered {
  static constexpr int64_t kPixel = 32;  // channels of a plane

  explicit Bordered(const Shape& shape)
      : height(shape.height),
        planes(shape.channels / kPixel),
        line((shape.width + 2) * kPixel),
        plane((height + 2) * line) {}

  int64_t height, planes;
  int64_t line, plane;  // elements

  int64_t elements() const { return planes * plane + 16 * kPixel; }
  // The first pixel of line h of the picture in the first plane, in `to`, which is the start of the whole.
  uint16_t* Line(uint16_t* to, int64_t h) const { return to + (h + 1) * line + kPixel; }

  // The border above and below, and what lies past the end.
  void ClearEnds(uint16_t* to) const {
    for (int64_t p = 0; p < planes; ++p) {
      std::fill_n(to + p * plane, line, 0);
      std::fill_n(to + (p + 1) * plane - line, line, 0);
    }
    std::fill_n(to + planes * plane, 16 * kPixel, 0);
  }
  // Line h of the picture with its border, or the border below.
  void ClearLine(uint16_t* to, int64_t h) const {
    for (int64_t p = 0; p < planes; ++p) std::fill_n(to + p * plane + (h + 1) * line, line, 0);
  }
  // The border left and right of line h.
  void ClearSides(uint16_t* to, int64_t h) const {
    for (int64_t p = 0; p < planes; ++p) {
      uint16_t* at = to + p * plane + (h + 1) * line;
      std::fill_n(at, kPixel, 0);
      std::fill_n(at + line - kPixel, kPixel, 0);
    }
  }
};

}  // namespace tiltshift::engine::cpu
