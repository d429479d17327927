#include "models/recipe/scenes/march.h"

namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA {
namespace {

// Figurines differ in height; these bring them to about one size.
constexpr float kScale[] = {1.12f, 1.16f, 1.16f, 1.04f, 1.1f, 1.06f, 1.12f, 1.06f};

// Holds the figurine and the base: a ray that misses it needs no marching.
constexpr Triple kBoundCenter{0, 0.58f, 0};
constexpr float kBoundRadius = 1.52f;

struct Interval {
  Mask mask;
  Lanes enter, leave;
};

TS_LANES_INLINE Interval CrossBound(const Rays& rays) {
  const Vec3 c = rays.origin - All(kBoundCenter);
  const Lanes b = Dot(c, rays.direction);
  const Lanes discriminant = b * b - (Dot(c, c) - kBoundRadius * kBoundRadius);
  const Lanes root = Sqrt(discriminant), leave = root - b;
  return {(discriminant > 0.f) & (leave > 0.f), Max(-b - root, 0.f), leave};
}

template <bool kWithPart>
Nearest Subject(const Scene& scene, const Vec3& p) {
  switch (scene.subject) {
    case kPerson:
      return Person<kWithPart>(scene.shape, p);
    case kCat:
      return Cat<kWithPart>(scene.shape, p);
    case kDog:
      return Dog<kWithPart>(scene.shape, p);
    case kRobot:
      return Robot<kWithPart>(scene.shape, p);
    case kCar:
      return Car<kWithPart>(scene.shape, p);
    case kHouse:
      return House<kWithPart>(scene.shape, p);
    case kBottle:
      return Bottle<kWithPart>(scene.shape, p);
    default:
      return Rocket<kWithPart>(scene.shape, p);
  }
}

TS_LANES_INLINE Lanes Pedestal(int base, Vec3 p, Vec3 turned) {
  switch (base) {
    case kRoundWooden:
      return CylinderY(p, {0, -0.12f, 0}, {1.06f, 0.12f, 0.035f});
    case kSquareStone:
      return Box(turned, {0, -0.12f, 0}, {0.88f, 0.12f, 0.88f}, 0.03f);
    default:
      return Min(CylinderY(p, {0, -0.05f, 0}, {0.96f, 0.05f, 0.02f}),
                 CylinderY(p, {0, -0.17f, 0}, {1.08f, 0.07f, 0.03f}));
  }
}

}  // namespace

template <bool kWithPart>
Nearest NearestSurface(const Scene& scene, Vec3 p) {
  const Vec3 turned = Turned(scene, p);
  const float scale = kScale[scene.subject];
  Union<kWithPart> all{Subject<kWithPart>(scene, turned * (1 / scale))};
  all.nearest.distance = all.nearest.distance * scale;
  all.Add(Pedestal(scene.base, p, turned), kBasePart);
  return all.nearest;
}

template Nearest NearestSurface<false>(const Scene&, Vec3);
template Nearest NearestSurface<true>(const Scene&, Vec3);

Hit March(const Scene& scene, const Rays& rays, Mask active, Lanes farthest, MarchLimits limits) {
  const Interval bound = CrossBound(rays);
  const Lanes end = Min(bound.leave, farthest);
  active = active & bound.mask;
  Hit hit{NoLanes(), bound.enter};
  for (int i = 0; i < limits.steps && Any(active); ++i) {
    const Lanes gap =
        NearestSurface<false>(scene, rays.origin + rays.direction * hit.distance).distance;
    const Mask touched = (gap < limits.hit_distance) & active;
    hit.mask = hit.mask | touched;
    active = active & ~touched;
    hit.distance = Select(active, hit.distance + gap * 0.92f, hit.distance);
    active = active & (hit.distance < end);
  }
  return hit;
}

Lanes Lit(const Scene& scene, Vec3 p, Mask active, int steps) {
  const Rays rays{p, All(scene.lighting.direction)};
  const Interval bound = CrossBound(rays);
  active = active & bound.mask;
  Lanes lit = 1.f, t = Max(bound.enter, 0.03f);
  for (int i = 0; i < steps && Any(active); ++i) {
    const Lanes gap = NearestSurface<false>(scene, p + rays.direction * t).distance;
    lit = Select(active, Min(lit, scene.lighting.hardness * gap / t), lit);
    t = t + Clamp(gap, 0.025f, 0.22f);
    active = active & (t < bound.leave) & (lit > 0.005f);
  }
  lit = Saturate(lit);
  return lit * lit * (3.f - lit - lit);
}

Lanes Openness(const Scene& scene, Vec3 p, Vec3 normal) {
  Lanes blocked = 0.f;
  float weight = 1.f;
  for (int i = 0; i < 4; ++i) {
    const float reach = 0.025f + 0.095f * static_cast<float>(i);
    const Lanes gap = NearestSurface<false>(scene, p + normal * reach).distance;
    blocked = blocked + Max(reach - gap, 0.f) * weight;
    weight *= 0.72f;
  }
  return Saturate(1.f - blocked * 2.3f);
}

Vec3 SurfaceNormal(const Scene& scene, Vec3 p) {
  const float e = 0.0015f;
  const auto at = [&](float x, float y, float z) {
    return NearestSurface<false>(scene, p + All(x, y, z)).distance;
  };
  const Lanes a = at(e, -e, -e), b = at(-e, -e, e), c = at(-e, e, -e), d = at(e, e, e);
  return Normalize(Vec3{a - b - c + d, c + d - a - b, b - a - c + d});
}

}  // namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA
