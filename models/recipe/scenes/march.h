// Rays against the figurine on its base, by sphere tracing (Hart 1996): step by the distance to the
// nearest surface until it is next to nothing.
#pragma once

#include "models/recipe/scenes/figurines.h"

namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA {

struct Rays {
  Vec3 origin;
  Vec3 direction;  // of length 1
};

struct MarchLimits {
  int steps;
  float hit_distance;  // nearer than this is a hit
};

struct Hit {
  Mask mask;
  Lanes distance;  // along the ray; meaningful where the mask is set
};

// The figurine turned by the scene's yaw, and its base below y = 0.
template <bool kWithPart>
Nearest NearestSurface(const Scene& scene, Vec3 p);

// The point in the figurine's own axes, as textures need it.
TS_LANES_INLINE Vec3 Turned(const Scene& scene, Vec3 p) {
  return {p.x * scene.yaw_cos - p.z * scene.yaw_sin, p.y,
          p.x * scene.yaw_sin + p.z * scene.yaw_cos};
}

Hit March(const Scene& scene, const Rays& rays, Mask active, Lanes farthest, MarchLimits limits);

// Where the lamp's light arrives: 0 in shadow, 1 lit, between them a penumbra that widens with the
// distance to what casts it (Quilez, "soft shadows"). `p` a little off its surface.
Lanes Lit(const Scene& scene, Vec3 p, Mask active, int steps);

// Ambient light left at p by what stands close in the normal's direction: 1 none blocked, 0 all.
Lanes Openness(const Scene& scene, Vec3 p, Vec3 normal);

// By central differences at the corners of a tetrahedron: four distances, not six.
Vec3 SurfaceNormal(const Scene& scene, Vec3 p);

}  // namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA
