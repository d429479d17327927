// One renderer, compiled for several instruction sets; which one this processor runs is decided
// here.
#pragma once

#include <span>
#include <string_view>

#include "models/recipe/scenes/scene.h"

namespace tiltshift::scenes {

// Adds the scene to `radiance` [size, size, 4] (linear red, green, blue, nothing) and `blur` [size,
// size] (the circle of confusion, relative to the aperture), both given as zeros. size *
// supersample is a multiple of 4.
using TraceFunction = void(const Scene& scene, int size, int supersample, float* radiance,
                           float* blur);

namespace baseline {
TraceFunction TraceScene;
}
namespace avx2 {
TraceFunction TraceScene;
}
namespace avx512 {
TraceFunction TraceScene;
}

struct IsaVariant {
  std::string_view name;
  TraceFunction* trace;
};

// Those that this processor can run, the fastest first. Pictures differ between them by rounding
// alone.
std::span<const IsaVariant> RunnableVariants();

}  // namespace tiltshift::scenes
