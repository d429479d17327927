// Pixels: 8-bit RGB, interleaved, rows from the top.
#pragma once

#include <cstdint>
#include <vector>

namespace tiltshift::picture {

struct Image {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> rgb;  // [height, width, 3]
};

}  // namespace tiltshift::picture
