// Scenes as pictures.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/recipe/scenes/isa.h"
#include "models/recipe/scenes/scene.h"

namespace tiltshift::scenes {

struct RenderOptions {
  int size = 256;       // pixels a side; a multiple of 4, so that any supersample tiles
  int supersample = 2;  // rays a pixel, each way
  int threads = 1;  // a thread draws whole scenes: the pictures don't depend on how many there are
};

// One scene as [size, size, 3] bytes.
std::vector<uint8_t> Render(const Scene& scene, const RenderOptions& options,
                            const IsaVariant& variant);

// All of them, one after the other, on the fastest variant.
std::vector<uint8_t> RenderAll(std::span<const Scene> scenes, const RenderOptions& options);

}  // namespace tiltshift::scenes
