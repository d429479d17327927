#include <utility>

#include "models/recipe/scenes/color.h"
#include "models/recipe/scenes/look.h"

namespace tiltshift::scenes {
namespace {

Triple Tint(int light) {
  if (light == kWarm) return {1.08f, 0.93f, 0.76f};
  if (light == kCool) return {0.82f, 0.95f, 1.15f};
  return {1, 1, 1};
}

struct Range {
  float low, high;
};

struct Spread {
  int count;
  Range x, y, size;
};

// `color` is called after a thing's place and size are drawn.
template <typename ColorOf>
void Scatter(Random& random, const Spread& spread, Surroundings& around, ColorOf color) {
  for (int i = 0; i < spread.count; ++i) {
    Distant& thing = around.distant[around.distant_count++];
    thing.x = random.Between(spread.x.low, spread.x.high);
    thing.y = random.Between(spread.y.low, spread.y.high);
    thing.size = random.Between(spread.size.low, spread.size.high);
    thing.color = color();
  }
}

void Studio(Random& random, Triple tint, Surroundings& around) {
  static constexpr Triple kPapers[] = {{0.62f, 0.62f, 0.63f},
                                       {0.70f, 0.64f, 0.56f},
                                       {0.50f, 0.58f, 0.66f},
                                       {0.66f, 0.54f, 0.54f},
                                       {0.52f, 0.62f, 0.55f}};
  const Triple paper = kPapers[random.Below(5)];
  const Triple color = Varied(random, paper, 0.06f);
  around.ground_a = around.ground_b = color;
  around.horizon = color * 1.05f * tint;
  around.zenith = color * 0.62f * tint;
}

void Desk(Random& random, Triple tint, Surroundings& around) {
  around.ground_a = Varied(random, {0.36f, 0.19f, 0.085f}, 0.12f);
  around.ground_b = Varied(random, {0.17f, 0.08f, 0.035f}, 0.12f);
  around.horizon = Varied(random, {0.24f, 0.18f, 0.13f}, 0.1f) * tint;
  around.zenith = Varied(random, {0.13f, 0.11f, 0.10f}, 0.1f) * tint;
  const Spread lamps{6, {-0.32f, 0.32f}, {0.02f, 0.3f}, {0.03f, 0.07f}};
  Scatter(random, lamps, around, [&] {
    return Triple{0.55f, 0.38f, 0.2f} * random.Between(0.4f, 1.f) * tint;
  });
}

void Snow(Random& random, Triple tint, Surroundings& around) {
  around.ground_a = around.ground_b = {0.86f, 0.89f, 0.94f};
  around.horizon = Varied(random, {0.78f, 0.86f, 0.95f}, 0.04f) * tint;
  around.zenith = Varied(random, {0.45f, 0.63f, 0.86f}, 0.06f) * tint;
  const Spread pines{7, {-0.38f, 0.38f}, {0.08f, 0.24f}, {0.25f, 0.45f}};
  Scatter(random, pines, around, [&] {
    return Varied(random, {0.17f, 0.28f, 0.27f}, 0.25f) * tint;
  });
}

void Grass(Random& random, Triple tint, Surroundings& around) {
  around.ground_a = Varied(random, {0.10f, 0.27f, 0.035f}, 0.12f);
  around.ground_b = Varied(random, {0.26f, 0.48f, 0.08f}, 0.12f);
  around.horizon = Varied(random, {0.42f, 0.60f, 0.30f}, 0.08f) * tint;
  around.zenith = Varied(random, {0.50f, 0.72f, 0.92f}, 0.06f) * tint;
  const Spread bushes{12, {-0.35f, 0.35f}, {-0.02f, 0.16f}, {0.05f, 0.12f}};
  Scatter(random, bushes, around, [&] {
    return Varied(random, {0.16f, 0.36f, 0.08f}, 0.3f) * tint;
  });
}

void NeonNight(Random& random, Lighting& lighting, Surroundings& around) {
  around.ground_a = around.ground_b = {0.022f, 0.02f, 0.04f};
  around.horizon = {0.07f, 0.025f, 0.12f};
  around.zenith = {0.015f, 0.012f, 0.05f};
  lighting.color = lighting.color * 0.42f;
  lighting.sky = lighting.sky * 0.20f;
  lighting.ground = {0.10f, 0.03f, 0.12f};
  lighting.left_rim = {0.15f, 1.1f, 1.5f};
  lighting.right_rim = {1.7f, 0.2f, 1.0f};
  if (random.Unit() < 0.5f) std::swap(lighting.left_rim, lighting.right_rim);
  static constexpr Triple kNeon[] = {
      {1.f, 0.1f, 0.55f}, {0.1f, 0.75f, 1.f}, {0.9f, 0.5f, 0.1f}, {0.5f, 0.15f, 1.f}};
  const Spread signs{13, {-0.36f, 0.36f}, {0.f, 0.36f}, {0.018f, 0.045f}};
  Scatter(random, signs, around, [&] {
    const Triple neon = kNeon[random.Below(4)];
    return neon * random.Between(0.35f, 1.f);
  });
}

}  // namespace

void DrawLighting(Random& random, Scene& scene) {
  Lighting& lighting = scene.lighting;
  const float side = random.Unit() < 0.5f ? -1 : 1;
  if (scene.light == kSoft) {
    const float x = side * random.Between(0.4f, 0.7f);
    lighting = {.direction = {x, 1.f, random.Between(0.5f, 0.8f)},
                .color = {1.55f, 1.5f, 1.45f},
                .hardness = 5,
                .sky = {0.80f, 0.82f, 0.86f},
                .ground = {0.42f, 0.40f, 0.38f},
                .left_rim = {0.15f, 0.15f, 0.16f},
                .right_rim = {0.15f, 0.15f, 0.16f}};
  } else if (scene.light == kWarm) {
    const float x = side * random.Between(0.75f, 0.95f), y = random.Between(0.62f, 0.75f);
    lighting = {.direction = {x, y, random.Between(0.35f, 0.6f)},
                .color = {2.7f, 1.65f, 0.78f},
                .hardness = 11,
                .sky = {0.50f, 0.42f, 0.40f},
                .ground = {0.36f, 0.25f, 0.16f},
                .left_rim = {0.5f, 0.25f, 0.08f},
                .right_rim = {0.5f, 0.25f, 0.08f}};
  } else {
    const float x = side * random.Between(0.5f, 0.8f);
    lighting = {.direction = {x, 0.85f, random.Between(0.3f, 0.5f)},
                .color = {1.05f, 1.5f, 2.15f},
                .hardness = 9,
                .sky = {0.34f, 0.46f, 0.68f},
                .ground = {0.16f, 0.22f, 0.34f},
                .left_rim = {0.1f, 0.25f, 0.5f},
                .right_rim = {0.15f, 0.3f, 0.6f}};
  }
  lighting.direction = Normalized(lighting.direction);
}

void DrawSurroundings(Random& random, Scene& scene) {
  const Triple tint = Tint(scene.light);
  switch (scene.background) {
    case kStudio:
      return Studio(random, tint, scene.around);
    case kDesk:
      return Desk(random, tint, scene.around);
    case kSnow:
      return Snow(random, tint, scene.around);
    case kGrass:
      return Grass(random, tint, scene.around);
    case kNeonNight:
      return NeonNight(random, scene.lighting, scene.around);
  }
}

}  // namespace tiltshift::scenes
