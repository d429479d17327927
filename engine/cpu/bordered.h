// A picture with a border of zeros, one pixel wide: what a 3x3 convolution on AMX tiles reads.
//
// Between the lines the border is shared out so that pixels of a tile lie side by side whatever place of the filter
// they are read for: [height + 2][width + 2][channels] and a tile's rows more, for the last tile reads on.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/graph.h"

namespace tiltshift::engine::cpu {

struct Bordered {
  explicit Bordered(const Shape& shape)
      : height(shape.height), pixel(shape.channels), line((shape.width + 2) * pixel) {}

  int64_t height, pixel, line;  // the latter two in elements

  int64_t elements() const { return (height + 2) * line + 16 * pixel; }
  // The first pixel of line h of the picture, in `to`, which is the start of the whole.
  uint16_t* Line(uint16_t* to, int64_t h) const { return to + (h + 1) * line + pixel; }

  // The border above and below, and what lies past it.
  void ClearEnds(uint16_t* to) const {
    std::fill_n(to, line, 0);
    std::fill_n(to + (height + 1) * line, line + 16 * pixel, 0);
  }
  // The border left and right of line h.
  void ClearSides(uint16_t* to, int64_t h) const {
    std::fill_n(to + (h + 1) * line, pixel, 0);
    std::fill_n(to + (h + 2) * line - pixel, pixel, 0);
  }
};

}  // namespace tiltshift::engine::cpu
