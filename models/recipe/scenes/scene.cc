#include "models/recipe/scenes/scene.h"

#include <cmath>

#include "models/recipe/scenes/look.h"
#include "models/recipe/scenes/random.h"

namespace tiltshift::scenes {
namespace {

void DrawAttributes(Random& random, const FixedAttributes& fixed, Scene& scene) {
  int* const fields[] = {&scene.subject,    &scene.color, &scene.material, &scene.base,
                         &scene.background, &scene.light, &scene.view};
  for (int i = 0; i < kAttributes; ++i) {
    const int drawn = random.Below(static_cast<int>(Words(static_cast<Attribute>(i)).size()));
    *fields[i] = fixed[i].value_or(drawn);
  }
}

void DrawCamera(Random& random, Scene& scene) {
  Camera& camera = scene.camera;
  const float side = random.Unit() < 0.5f ? -1 : 1;
  float yaw = 0;
  if (scene.view == kFront) {
    yaw = random.Between(-0.28f, 0.28f);
    camera.pitch = random.Between(0.20f, 0.36f);
  } else if (scene.view == kSide) {
    yaw = side * random.Between(1.0f, 1.5f);
    camera.pitch = random.Between(0.20f, 0.36f);
  } else {
    yaw = random.Between(-0.6f, 0.6f);
    camera.pitch = random.Between(0.85f, 1.05f);
  }
  scene.yaw_cos = std::cos(yaw);
  scene.yaw_sin = std::sin(yaw);
  camera.field = random.Between(0.42f, 0.48f);
  camera.distance = random.Between(5.3f, 5.8f);
  camera.target_x = random.Between(-0.06f, 0.06f);
  camera.target_y = (scene.view == kTop ? 0.38f : 0.62f) + random.Between(-0.05f, 0.05f);
  camera.focus = camera.distance - 0.25f;
  camera.aperture = random.Between(0.8f, 1.15f);
}

// Neighbouring indices start far apart, and five draws later they have nothing in common.
Random RandomOf(uint64_t seed, uint64_t index) {
  Random random(seed * 1000003ULL + index * 7919ULL + 12345);
  for (int i = 0; i < 5; ++i) random.Bits();
  return random;
}

}  // namespace

Scene DrawScene(uint64_t seed, uint64_t index, const FixedAttributes& fixed) {
  Scene scene{};
  Random random = RandomOf(seed, index);
  DrawAttributes(random, fixed, scene);
  for (float& value : scene.shape) value = random.Unit();
  scene.texture_offset = random.Between(0, 40);
  DrawCamera(random, scene);
  DrawLighting(random, scene);
  DrawSurroundings(random, scene);
  DrawLooks(random, scene);
  return scene;
}

std::string Caption(const Scene& scene) {
  return Caption(Attributes{scene.subject, scene.color, scene.material, scene.base,
                            scene.background, scene.light, scene.view});
}

}  // namespace tiltshift::scenes
