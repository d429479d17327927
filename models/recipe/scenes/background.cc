#include "models/recipe/scenes/background.h"

#include "models/recipe/scenes/noise.h"

namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA {
namespace {

// 1 inside a disc, 0 outside; `softness` is the part of the radius where it fades.
TS_LANES_INLINE Lanes Disc(Lanes u, Lanes v, const Distant& disc, float softness) {
  const Lanes x = u - disc.x, y = v - disc.y;
  return 1.f - SmoothStep(disc.size * (1 - softness), disc.size, Sqrt(x * x + y * y));
}

TS_LANES_INLINE Lanes Pine(Lanes u, Lanes v, const Distant& pine) {
  const Lanes below_tip = pine.y - v;
  const Lanes inside = below_tip * pine.size - Abs(u - pine.x);
  return SmoothStep(-0.05f, 0.05f, inside) * SmoothStep(-0.03f, 0.08f, below_tip);
}

// Planks 1.1 wide, laid at 0.35 radians, with fine and coarse grain along them and a dark gap
// between.
TS_LANES_INLINE Vec3 Planks(const Scene& scene, Lanes x, Lanes z) {
  const float c = cosf(0.35f), s = sinf(0.35f);
  const Lanes along = x * c + z * s, across = z * c - x * s;
  const Lanes plank = Floor(across * 0.9f), within = Fraction(across * 0.9f);
  const Lanes grain = Noise(along * 1.3f + plank * 7.f, across * 14.f) * 0.6f +
                      Noise(along * 4.f, across * 42.f) * 0.4f;
  const Vec3 wood = Mix(All(scene.around.ground_a), All(scene.around.ground_b), grain) *
                    (0.85f + Hash(plank, plank + 3.f) * 0.3f);
  return wood * (0.45f + 0.55f * SmoothStep(0.f, 0.035f, Min(within, 1.f - within)));
}

// Drifts from two octaves of noise, each by its slope.
TS_LANES_INLINE Vec3 SnowNormal(Lanes x, Lanes z) {
  const Lanes wide = Noise(x * 2.2f, z * 2.2f), fine = Noise(x * 9.f, z * 9.f);
  const Lanes wide_x = Noise(x * 2.2f + 0.25f, z * 2.2f),
              wide_z = Noise(x * 2.2f, z * 2.2f + 0.25f);
  const Lanes fine_x = Noise(x * 9.f + 0.3f, z * 9.f), fine_z = Noise(x * 9.f, z * 9.f + 0.3f);
  return Normalize(Vec3{(wide - wide_x) * 0.9f + (fine - fine_x) * 0.35f, 1.f,
                        (wide - wide_z) * 0.9f + (fine - fine_z) * 0.35f});
}

// Blades from stretched noise; a cell in twenty has a flower, white or yellow.
TS_LANES_INLINE Ground Meadow(const Scene& scene, Lanes x, Lanes z) {
  const Lanes patch = Noise(x * 3.f, z * 3.f);
  const Lanes blade = Noise(x * 26.f + Noise(x * 5.f, z * 5.f) * 4.f, z * 9.f - x * 3.f);
  const Lanes blade2 = Noise(x * 31.f - z * 8.f, z * 13.f);
  const Lanes tone = Saturate((blade * 0.6f + blade2 * 0.4f) * 1.5f - 0.25f);
  const Vec3 green =
      Mix(All(scene.around.ground_a), All(scene.around.ground_b), tone) * (0.65f + patch * 0.6f);

  const Lanes cell = Hash(Floor(x * 5.f), Floor(z * 5.f));
  const Lanes u = Fraction(x * 5.f) - 0.5f, v = Fraction(z * 5.f) - 0.5f;
  const Mask flower = (cell > 0.955f) & (u * u + v * v < 0.05f);
  const Vec3 petals =
      Mix(All(0.95f, 0.93f, 0.85f), All(0.95f, 0.8f, 0.2f), SmoothStep(0.98f, 0.985f, cell));
  const Vec3 normal = Normalize(Vec3{(blade - 0.5f) * 0.8f, 1.f, (blade2 - 0.5f) * 0.8f});
  return {Select(flower, petals, green), normal, 0.05f};
}

}  // namespace

Vec3 Backdrop(const Scene& scene, Lanes u, Lanes v) {
  const Surroundings& around = scene.around;
  Vec3 color = Mix(All(around.horizon), All(around.zenith), Saturate(v * 1.1f + 0.1f));
  for (int i = 0; i < around.distant_count; ++i) {
    const Distant& thing = around.distant[i];
    const Vec3 own = All(thing.color);
    switch (scene.background) {
      case kSnow:
        color = Mix(color, own, Pine(u, v, thing) * 0.75f);
        break;
      case kGrass:
        color = Mix(color, own, Disc(u, v, thing, 0.6f) * 0.6f);
        break;
      case kDesk:
        color = color + own * (Disc(u, v, thing, 0.6f) * 0.8f);
        break;
      case kNeonNight:
        color = color + own * (Disc(u, v, thing, 0.25f) * 0.8f);
        break;
    }
  }
  return color;
}

Vec3 Environment(const Scene& scene, Vec3 direction) {
  const Surroundings& around = scene.around;
  const Lighting& lighting = scene.lighting;
  const Lanes up = direction.y;
  const Vec3 sky = Mix(All(around.horizon), All(around.zenith), Saturate(up)) * 0.8f;
  Vec3 color = Mix(All(around.ground_a) * 0.55f, sky, SmoothStep(-0.15f, 0.1f, up));
  const Lanes lamp = SmoothStep(0.78f, 0.93f, Dot(direction, All(lighting.direction)));
  color = color + All(lighting.color) * (lamp * 1.1f);
  const Lanes side = Abs(direction.x);
  const Lanes strip = SmoothStep(0.55f, 0.65f, side) * (1.f - SmoothStep(0.8f, 0.9f, side)) *
                      SmoothStep(-0.05f, 0.1f, up) * (1.f - SmoothStep(0.65f, 0.75f, up));
  return color + (All(lighting.left_rim) * 0.5f + All(lighting.sky) * 0.6f) * strip;
}

Ground GroundAt(const Scene& scene, Vec3 p) {
  const Lanes x = p.x + scene.texture_offset, z = p.z + scene.texture_offset * 1.7f;
  const Vec3 flat = All(scene.around.ground_a), up = All(0, 1, 0);
  switch (scene.background) {
    case kStudio:
      return {flat, up, 0.10f};
    case kDesk:
      return {Planks(scene, x, z), up, 0.12f};
    case kSnow:
      return {flat, SnowNormal(x, z), 0.05f};
    case kGrass:
      return Meadow(scene, x, z);
    default:
      return {flat, up, 0.5f};
  }
}

}  // namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA
