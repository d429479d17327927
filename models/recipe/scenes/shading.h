// The colour of a surface seen along a ray, in linear light.
#pragma once

#include "models/recipe/scenes/march.h"

namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA {

// kFull traces shadow and openness; kQuick takes both as 0.8, which a dim reflection doesn't
// betray.
enum class Detail { kFull, kQuick };

// The figurine or its base at `p`; lanes outside `active` come out meaningless.
Vec3 ShadeFigurine(const Scene& scene, Vec3 p, Vec3 direction, Mask active, Detail detail);

struct GroundView {
  Rays rays;
  Lanes distance;  // to the ground
  Lanes u, v;      // view coordinates, as Backdrop takes them
  Mask active;     // rays that meet the ground and not the figurine
  Mask below;      // rays that meet the ground
};

// The ground, its shadows and reflections, fading into the backdrop; the backdrop where a ray meets
// no ground.
Vec3 ShadeSurroundings(const Scene& scene, const GroundView& view);

}  // namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA
