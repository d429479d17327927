// Photos for tests, made here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "picture/image.h"

namespace tiltshift::picture {

// A red top left quarter, a blue bottom right one, soft shades and some texture between.
Image Scene(int width, int height);

struct SaveOptions {
  int orientation = 0;  // EXIF's, 1 to 8; 0: none
  bool grey = false, alpha = false,
       wide = false;    // alpha: the bottom right quarter is transparent; wide: 16 bits
  std::string profile;  // of libvips' own: "p3", "cmyk"
};
// nullopt where libvips has no encoder for it here.
std::optional<std::string> Saved(const Image& image, const std::string& suffix,
                                 const SaveOptions& options = {});

// A WebP of three frames.
std::optional<std::string> Animated();
// Headers that promise 60000x60000 and 65500x65500 pixels.
std::string HugePng();
std::string HugeJpeg();
// Small files of every format, and of some that are none.
std::vector<std::string> HostileSeeds();

// Of this build.
std::string DecoderProgram();

}  // namespace tiltshift::picture
