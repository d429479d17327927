// Whether a photo will do, told to whoever sends it: warnings in words, none of them an error.
#pragma once

#include <string>
#include <vector>

#include "picture/image.h"

namespace tiltshift::picture {

// What it is measured by; lightness is 0..255, of the photo shrunk to at most 768 pixels a side.
struct PhotoMeasures {
  int width = 0, height = 0;    // as it came
  double sharpness = 0;         // variance of the Laplacian (Pech-Pacheco et al. 2000)
  double mean = 0;              // lightness
  double contrast = 0;          // its standard deviation
  double black = 0, white = 0;  // parts of the photo below 6, above 249
};

PhotoMeasures Measure(const Image& photo);

struct PhotoWarning {
  std::string about;  // "size", "sharpness", "exposure" or "contrast"
  std::string words;  // "it is dark: ..."
};

std::vector<PhotoWarning> CheckPhoto(const PhotoMeasures& measures);

}  // namespace tiltshift::picture
