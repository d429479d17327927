// The eight subjects as solids. Each stands on y = 0, faces +z, and is about 1.5 high; `shape` is
// Scene::shape.
#pragma once

#include "models/recipe/scenes/sdf.h"

namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA {

// The distance to the nearest part, and which part (a whole number, one of Part) where that was
// asked for.
struct Nearest {
  Lanes distance = 1e9f;
  Lanes part = static_cast<float>(kMain);
};

// A union of solids that grows a part at a time. Marching needs the distance alone, so the
// bookkeeping of parts is compiled out of it.
template <bool kWithPart>
struct Union {
  Nearest nearest;

  __attribute__((always_inline)) void Add(Lanes distance, Lanes part) {
    if (kWithPart) nearest.part = Select(distance < nearest.distance, part, nearest.part);
    nearest.distance = Min(distance, nearest.distance);
  }
  __attribute__((always_inline)) void Add(Lanes distance, Part part) {
    Add(distance, Lanes(static_cast<float>(part)));
  }
};

// The half space x > 0 stands for both: parts given once appear left and right.
TS_LANES_INLINE Vec3 Mirrored(const Vec3& p) { return {Abs(p.x), p.y, p.z}; }

// characters.cc
template <bool kWithPart>
Nearest Person(const float shape[8], const Vec3& p);
template <bool kWithPart>
Nearest Cat(const float shape[8], const Vec3& p);
template <bool kWithPart>
Nearest Dog(const float shape[8], const Vec3& p);
template <bool kWithPart>
Nearest Robot(const float shape[8], const Vec3& p);

// things.cc
template <bool kWithPart>
Nearest Car(const float shape[8], const Vec3& p);
template <bool kWithPart>
Nearest House(const float shape[8], const Vec3& p);
template <bool kWithPart>
Nearest Bottle(const float shape[8], const Vec3& p);
template <bool kWithPart>
Nearest Rocket(const float shape[8], const Vec3& p);

}  // namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA
