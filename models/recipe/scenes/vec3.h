// Points, directions and colours, sixteen at a time.
#pragma once

#include "models/recipe/scenes/lanes.h"
#include "models/recipe/scenes/scene.h"

namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA {

struct Vec3 {
  Lanes x, y, z;
};

TS_LANES_INLINE Vec3 operator+(Vec3 a, Vec3 b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
TS_LANES_INLINE Vec3 operator-(Vec3 a, Vec3 b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
TS_LANES_INLINE Vec3 operator*(Vec3 a, Vec3 b) { return {a.x * b.x, a.y * b.y, a.z * b.z}; }
TS_LANES_INLINE Vec3 operator*(Vec3 a, Lanes b) { return {a.x * b, a.y * b, a.z * b}; }

TS_LANES_INLINE Lanes Dot(Vec3 a, Vec3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
TS_LANES_INLINE Lanes Length(Vec3 a) { return Sqrt(Dot(a, a)); }
TS_LANES_INLINE Vec3 Normalize(Vec3 a) { return a * (1.f / Sqrt(Dot(a, a) + 1e-12f)); }
TS_LANES_INLINE Vec3 Mix(Vec3 a, Vec3 b, Lanes share) { return a + (b - a) * share; }
TS_LANES_INLINE Vec3 Select(Mask mask, Vec3 yes, Vec3 no) {
  return {Select(mask, yes.x, no.x), Select(mask, yes.y, no.y), Select(mask, yes.z, no.z)};
}
TS_LANES_INLINE Vec3 All(float x, float y, float z) { return {Lanes(x), Lanes(y), Lanes(z)}; }
TS_LANES_INLINE Vec3 All(const Triple& t) { return All(t.x, t.y, t.z); }

}  // namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA
