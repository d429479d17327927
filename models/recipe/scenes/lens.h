// From linear light to the picture: what the lens and the sensor of a miniature's photograph do.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/recipe/scenes/scene.h"

namespace tiltshift::scenes {

struct Exposure {
  int size;                     // pixels a side
  std::vector<float> radiance;  // [size, size, 4], linear; the fourth is room for a weight
  std::vector<float> blur;      // [size, size], circle of confusion relative to the aperture
};

// Flakes in front of everything, for a snowy background.
void AddFallingSnow(const Scene& scene, Exposure& exposure);

// Depth of field: every pixel spreads by its own circle of confusion. Four blurred copies of the
// picture, each weighted to the pixels about that blurred, are blended by the blur that a pixel
// asks for.
void Defocus(Exposure& exposure);

// Vignette, filmic curve (Narkowicz' fit of ACES), gamma 2.2. rgb is [size, size, 3].
void Develop(const Exposure& exposure, std::span<uint8_t> rgb);

}  // namespace tiltshift::scenes
