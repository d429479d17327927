// What is behind and below the figurine.
#pragma once

#include "models/recipe/scenes/vec3.h"

namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA {

inline constexpr float kGroundHeight = -0.24f;

// Far behind, by view coordinates: u to the right, v up, the horizon at v = 0.
Vec3 Backdrop(const Scene& scene, Lanes u, Lanes v);

// What a glossy surface mirrors from `direction`: ground, sky, the lamp, and a strip light at
// either side.
Vec3 Environment(const Scene& scene, Vec3 direction);

struct Ground {
  Vec3 color;
  Vec3 normal;
  float specular;
};

// The ground's surface at p, whose y doesn't matter.
Ground GroundAt(const Scene& scene, Vec3 p);

}  // namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA
