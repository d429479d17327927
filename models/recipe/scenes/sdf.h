// Signed distances to solids: negative inside. Where a solid has no cheap exact distance
// (ellipsoid, cone) the value is a bound near the surface, which is why march.cc steps a little
// short. The formulas are Inigo Quilez's, https://iquilezles.org/articles/distfunctions.
#pragma once

#include "models/recipe/scenes/vec3.h"

namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA {

TS_LANES_INLINE Lanes Sphere(Vec3 p, Triple center, float radius) {
  return Length(p - All(center)) - radius;
}

TS_LANES_INLINE Lanes Ellipsoid(Vec3 p, Triple center, Triple radii) {
  const Vec3 inverse = All(1 / radii.x, 1 / radii.y, 1 / radii.z);
  const Vec3 q = (p - All(center)) * inverse;
  const Lanes k0 = Length(q), k1 = Length(q * inverse);
  return k0 * (k0 - 1.f) / Max(k1, 1e-4f);
}

// Edges rounded by `round`, within the half sizes.
TS_LANES_INLINE Lanes Box(Vec3 p, Triple center, Triple half, float round) {
  const Vec3 q{Abs(p.x - center.x) - (half.x - round), Abs(p.y - center.y) - (half.y - round),
               Abs(p.z - center.z) - (half.z - round)};
  const Vec3 outside{Max(q.x, 0.f), Max(q.y, 0.f), Max(q.z, 0.f)};
  return Length(outside) + Min(Max(q.x, Max(q.y, q.z)), 0.f) - round;
}

TS_LANES_INLINE Lanes Capsule(Vec3 p, Triple from, Triple to, float radius) {
  const Triple axis{to.x - from.x, to.y - from.y, to.z - from.z};
  const float square = axis.x * axis.x + axis.y * axis.y + axis.z * axis.z;
  const Vec3 q = p - All(from);
  const Lanes along = Saturate((q.x * axis.x + q.y * axis.y + q.z * axis.z) * (1.f / square));
  return Length(q - All(axis) * along) - radius;
}

struct CylinderSize {
  float radius, half_height, round;
};

// From the distance to the axis and the height above the middle.
TS_LANES_INLINE Lanes Cylinder(Lanes from_axis, Lanes height, CylinderSize size) {
  const Lanes a = from_axis - (size.radius - size.round);
  const Lanes b = Abs(height) - (size.half_height - size.round);
  const Lanes a0 = Max(a, 0.f), b0 = Max(b, 0.f);
  return Min(Max(a, b), 0.f) + Sqrt(a0 * a0 + b0 * b0) - size.round;
}

TS_LANES_INLINE Lanes Hypotenuse(Lanes a, Lanes b) { return Sqrt(a * a + b * b); }

TS_LANES_INLINE Lanes CylinderX(Vec3 p, Triple center, CylinderSize size) {
  return Cylinder(Hypotenuse(p.y - center.y, p.z - center.z), p.x - center.x, size);
}
TS_LANES_INLINE Lanes CylinderY(Vec3 p, Triple center, CylinderSize size) {
  return Cylinder(Hypotenuse(p.x - center.x, p.z - center.z), p.y - center.y, size);
}
TS_LANES_INLINE Lanes CylinderZ(Vec3 p, Triple center, CylinderSize size) {
  return Cylinder(Hypotenuse(p.y - center.y, p.x - center.x), p.z - center.z, size);
}

struct ConeSize {
  float foot_radius, top_radius, height;
};

// Upright on `foot`, cut at its top.
TS_LANES_INLINE Lanes Cone(Vec3 p, Triple foot, ConeSize size) {
  const float slope = (size.top_radius - size.foot_radius) / size.height;
  const Lanes from_axis = Hypotenuse(p.x - foot.x, p.z - foot.z), y = p.y - foot.y;
  const Lanes side = (from_axis - size.foot_radius - slope * y) * (1.f / sqrtf(1 + slope * slope));
  return Max(side, Max(-y, y - size.height));
}

struct TorusSize {
  float ring_radius, tube_radius;
};

TS_LANES_INLINE Lanes TorusY(Vec3 p, Triple center, TorusSize size) {
  const Lanes ring = Hypotenuse(p.x - center.x, p.z - center.z) - size.ring_radius;
  return Hypotenuse(ring, p.y - center.y) - size.tube_radius;
}
TS_LANES_INLINE Lanes TorusZ(Vec3 p, Triple center, TorusSize size) {
  const Lanes ring = Hypotenuse(p.x - center.x, p.y - center.y) - size.ring_radius;
  return Hypotenuse(ring, p.z - center.z) - size.tube_radius;
}

// The union of two solids, melted together over a distance of `blend`.
TS_LANES_INLINE Lanes Melt(Lanes a, Lanes b, float blend) {
  const Lanes h = Max(blend - Abs(a - b), 0.f);
  return Min(a, b) - h * h * (0.25f / blend);
}

}  // namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA
