#include "models/recipe/scenes/background.h"
#include "models/recipe/scenes/isa.h"
#include "models/recipe/scenes/shading.h"

namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA {
namespace {

constexpr int kTile = 4;              // a tile is kTile x kTile rays
constexpr float kMostRadiance = 6.f;  // a highlight above this would sparkle through the lens blur

struct Pinhole {
  Vec3 origin;
  Vec3 forward;
  float pitch_cos, pitch_sin;
  float half_field;  // tangent of half the field of view
};

Pinhole Aim(const Camera& camera) {
  const float c = cosf(camera.pitch), s = sinf(camera.pitch);
  return {All(camera.target_x, camera.target_y + s * camera.distance, c * camera.distance),
          All(0, -s, -c), c, s, tanf(camera.field * 0.5f)};
}

struct Sample {
  Vec3 color;
  Lanes blur;
};

// x, y in [-1, 1], y up.
Sample TraceTile(const Scene& scene, const Pinhole& pinhole, Lanes x, Lanes y) {
  const float field = pinhole.half_field;
  const Vec3 across{x * field, y * (field * pinhole.pitch_cos), y * (-field * pinhole.pitch_sin)};
  const Rays rays{pinhole.origin, Normalize(across + pinhole.forward)};
  const Mask below = rays.direction.y < -0.01f;
  const Lanes ground = Select(below, (kGroundHeight - rays.origin.y) / rays.direction.y, 60.f);
  const Hit hit = March(scene, rays, AllLanes(), ground, {72, 0.0018f});
  Vec3 color = All(0, 0, 0);
  if (Any(~hit.mask)) {
    color = ShadeSurroundings(
        scene, {rays, ground, x * field, rays.direction.y + 0.12f, below & ~hit.mask, below});
  }
  if (Any(hit.mask)) {
    const Vec3 at = rays.origin + rays.direction * hit.distance;
    const Vec3 figurine = ShadeFigurine(scene, at, rays.direction, hit.mask, Detail::kFull);
    color = Select(hit.mask, figurine, color);
  }
  const Lanes depth = Min(Select(hit.mask, hit.distance, ground), 16.f);
  return {color, Abs(1.f - scene.camera.focus / depth) * scene.camera.aperture};
}

}  // namespace

void TraceScene(const Scene& scene, int size, int supersample, float* radiance, float* blur) {
  const Pinhole pinhole = Aim(scene.camera);
  const int rays = size * supersample;
  const float pixel = 2.f / static_cast<float>(rays);
  const float weight = 1.f / static_cast<float>(supersample * supersample);
  Lanes column, row;
  for (int i = 0; i < kLanes; ++i) {
    column.v[i] = static_cast<float>(i % kTile) + 0.5f;
    row.v[i] = static_cast<float>(i / kTile) + 0.5f;
  }
  for (int top = 0; top < rays; top += kTile) {
    for (int left = 0; left < rays; left += kTile) {
      const Lanes x = (static_cast<float>(left) + column) * pixel - 1.f;
      const Lanes y = 1.f - (static_cast<float>(top) + row) * pixel;
      const Sample sample = TraceTile(scene, pinhole, x, y);
      const Vec3 color{Min(sample.color.x, kMostRadiance), Min(sample.color.y, kMostRadiance),
                       Min(sample.color.z, kMostRadiance)};
      for (int i = 0; i < kLanes; ++i) {
        const int at = (top + i / kTile) / supersample * size + (left + i % kTile) / supersample;
        radiance[at * 4] += color.x.v[i] * weight;
        radiance[at * 4 + 1] += color.y.v[i] * weight;
        radiance[at * 4 + 2] += color.z.v[i] * weight;
        blur[at] += sample.blur.v[i] * weight;
      }
    }
  }
}

}  // namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA
