#include "models/recipe/scenes/shading.h"

#include "models/recipe/scenes/background.h"
#include "models/recipe/scenes/noise.h"

namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA {
namespace {

// Growth rings around an axis beside the figurine, and a finer grain.
TS_LANES_INLINE Lanes WoodTone(const Scene& scene, Vec3 q) {
  const Lanes ring = Hypotenuse(q.x + 0.35f, q.z - 0.5f);
  const Lanes wobble = Noise(q.x * 2.5f + scene.texture_offset, q.z * 2.5f) * 7.f;
  const Lanes rings = Sine(ring * 26.f + wobble + q.y * 3.f) * 0.5f + 0.5f;
  const Lanes grain = Noise(q.x * 11.f + q.z * 9.f, q.y * 2.f + q.z * 20.f) * 0.5f;
  return 1.12f - (rings * 0.75f + grain) * 0.42f;
}

TS_LANES_INLINE Lanes StoneTone(const Scene& scene, Vec3 q) {
  const Lanes spots = Noise(q.x * 9.f + scene.texture_offset, q.z * 9.f + q.y * 9.f) * 0.6f +
                      Noise(q.x * 30.f, q.z * 30.f + q.y * 30.f) * 0.4f;
  return 0.72f + spots * 0.55f;
}

// Thumb marks tilt a clay surface's normal.
TS_LANES_INLINE Vec3 ClayNormal(const Scene& scene, Vec3 q, Vec3 normal) {
  const Lanes dent = Noise(q.x * 14.f + q.y * 5.f + scene.texture_offset, q.y * 14.f + q.z * 11.f);
  return Normalize(normal + Vec3{dent - 0.5f, 0.f, 0.5f - dent} * 0.13f);
}

struct Surface {
  Vec3 color, normal;
  Lanes specular, gloss, metal, emission;
};

TS_LANES_INLINE Surface SurfaceAt(const Scene& scene, Vec3 p) {
  const Looks& looks = scene.looks;
  const Lanes part = NearestSurface<true>(scene, p).part;
  Surface s{{Look(looks.red, part), Look(looks.green, part), Look(looks.blue, part)},
            SurfaceNormal(scene, p),
            Look(looks.specular, part),
            Look(looks.gloss, part),
            Look(looks.metal, part),
            Look(looks.emission, part)};
  const Vec3 q = Turned(scene, p);
  const Mask base = part < 0.5f, main = (part < 1.5f) & ~base;
  Mask wood = NoLanes();
  if (scene.base == kRoundWooden) wood = wood | base;
  if (scene.material == kWooden) wood = wood | main;
  if (Any(wood)) s.color = Select(wood, s.color * WoodTone(scene, q), s.color);
  if (scene.base == kSquareStone && Any(base)) {
    s.color = Select(base, s.color * StoneTone(scene, q), s.color);
  }
  if (scene.material == kClay && Any(main)) s.normal = ClayNormal(scene, q, s.normal);
  return s;
}

// How strongly the rim light from one side (sign 1: right) grazes the surface.
TS_LANES_INLINE Lanes Rim(Vec3 normal, float sign) {
  const Lanes rim = Saturate(normal.x * (sign * 0.8f) - normal.z * 0.45f + 0.05f);
  return rim * rim;
}

// What the wet street or the studio's floor mirrors, mixed into `lit` where the ground is near.
TS_LANES_INLINE Vec3 AddReflection(const Scene& scene, const GroundView& view, Vec3 p, Mask near,
                                   Vec3 lit) {
  const bool night = scene.background == kNeonNight;
  const Rays rays{p + All(0, 0.01f, 0),
                  {view.rays.direction.x, -view.rays.direction.y, view.rays.direction.z}};
  const auto sky = [&] { return Backdrop(scene, view.u, rays.direction.y * 0.8f - 0.05f); };
  if (!Any(near)) return night ? lit + sky() * 0.23f : lit;
  const Hit hit = March(scene, rays, near, 20.f, {40, 0.004f});
  Vec3 figurine = All(0, 0, 0);
  if (Any(hit.mask)) {
    const Vec3 at = rays.origin + rays.direction * hit.distance;
    figurine = ShadeFigurine(scene, at, rays.direction, hit.mask, Detail::kQuick);
  }
  if (night) return lit + Select(hit.mask, figurine, sky() * 0.55f) * 0.42f;
  return Mix(lit, Select(hit.mask, figurine, lit), 0.10f);
}

}  // namespace

Vec3 ShadeFigurine(const Scene& scene, Vec3 p, Vec3 direction, Mask active, Detail detail) {
  const Lighting& lighting = scene.lighting;
  const Surface s = SurfaceAt(scene, p);
  const Vec3 n = s.normal, to_light = All(lighting.direction), light = All(lighting.color);
  const bool full = detail == Detail::kFull;
  const Lanes open = full ? Openness(scene, p, n) : 0.8f;
  const Lanes lit = full ? Lit(scene, p + n * 0.008f, active, 22) : 0.8f;

  const Lanes facing = Dot(n, to_light), wrap = Saturate(facing * 0.5f + 0.5f);
  Vec3 diffuse = light * (Saturate(facing) * lit) +
                 Mix(All(lighting.ground), All(lighting.sky), n.y * 0.5f + 0.5f) * open;
  diffuse = diffuse + light * (wrap * wrap * open * 0.12f);
  const Vec3 rim =
      (All(lighting.left_rim) * Rim(n, 1) + All(lighting.right_rim) * Rim(n, -1)) * open;

  const Lanes graze = 1.f - Saturate(-Dot(n, direction));
  const Lanes fresnel = SquareTimes(graze, 2) * graze;  // Schlick's fifth power
  const Lanes half = Saturate(Dot(n, Normalize(to_light - direction)));
  const Lanes highlight = Mix(SquareTimes(half, 4), SquareTimes(half, 7) * 3.f, s.gloss);
  const Vec3 mirrored = direction - n * (Dot(direction, n) * 2.f);
  const Vec3 around = Environment(scene, mirrored) * (open * 0.7f + 0.3f);
  const Lanes coat = s.specular * (0.12f + fresnel * 0.8f) * s.gloss * (1.f - s.metal);

  Vec3 color = s.color * (diffuse + rim) * (1.f - s.metal * 0.75f);
  color = color + around * coat + around * s.color * (s.metal * 0.95f);
  color = color + light * (highlight * s.specular * lit * 0.55f) * (1.f - s.metal * 0.3f);
  return color + rim * (fresnel * 0.4f) + s.color * s.emission;
}

Vec3 ShadeSurroundings(const Scene& scene, const GroundView& view) {
  const Lighting& lighting = scene.lighting;
  const Vec3 light = All(lighting.color), to_light = All(lighting.direction);
  const Vec3 behind = Backdrop(scene, view.u, view.v);
  const Vec3 p = view.rays.origin + view.rays.direction * Min(view.distance, 60.f);
  const Ground ground = GroundAt(scene, p);
  const Lanes radius = Hypotenuse(p.x, p.z);

  Lanes lit = 1.f, open = 1.f;
  const Mask shadowed = view.active & (radius < 5.f), close = view.active & (radius < 2.2f);
  if (Any(shadowed)) lit = Lit(scene, p + All(0, 0.006f, 0), shadowed, 24);
  if (Any(close)) open = Select(close, Openness(scene, p, All(0, 1, 0)), 1.f);

  const Lanes facing = Saturate(Dot(ground.normal, to_light));
  Vec3 color = ground.color * (light * (facing * lit * 0.85f) + All(lighting.sky) * open);
  if (scene.background == kNeonNight) {
    const Lanes glow = open * 0.045f / (1.f + radius * radius * 0.35f);
    color = color + (All(lighting.left_rim) * Saturate(p.x * 0.35f + 0.5f) +
                     All(lighting.right_rim) * Saturate(0.5f - p.x * 0.35f)) *
                        glow;
  }
  const Lanes half = Saturate(Dot(ground.normal, Normalize(to_light - view.rays.direction)));
  color = color + light * (SquareTimes(half, 5) * ground.specular * lit * 0.35f);
  if (scene.background == kSnow) {
    const Lanes sparkle = SmoothStep(0.992f, 1.f, Hash(Floor(p.x * 60.f), Floor(p.z * 60.f)));
    color = color + light * (sparkle * lit * 0.5f);
  }
  const bool studio = scene.background == kStudio;
  if (studio || scene.background == kNeonNight) {
    color = AddReflection(scene, view, p, view.active & (radius < 3.f), color);
  }
  const Lanes fade = studio ? SmoothStep(1.5f, 9.f, radius) : SmoothStep(4.f, 13.f, radius);
  return Mix(color, behind, Select(view.below, fade, 1.f));
}

}  // namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA
