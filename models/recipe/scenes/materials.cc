#include "models/recipe/scenes/color.h"
#include "models/recipe/scenes/look.h"

namespace tiltshift::scenes {
namespace {

constexpr Triple kPaints[] = {
    {0.72f, 0.035f, 0.03f}, {0.85f, 0.27f, 0.02f}, {0.88f, 0.66f, 0.04f},
    {0.06f, 0.42f, 0.07f},  {0.03f, 0.16f, 0.66f}, {0.27f, 0.06f, 0.50f},
    {0.88f, 0.28f, 0.48f},  {0.82f, 0.81f, 0.78f}, {0.025f, 0.025f, 0.03f}};
constexpr Triple kSkins[] = {
    {0.80f, 0.52f, 0.38f}, {0.62f, 0.36f, 0.22f}, {0.30f, 0.15f, 0.085f}, {0.86f, 0.62f, 0.48f}};
constexpr Triple kGlows[] = {{1.f, 0.72f, 0.22f}, {0.25f, 0.85f, 1.f}};
constexpr Triple kHairs[] = {
    {0.05f, 0.03f, 0.02f}, {0.24f, 0.10f, 0.04f}, {0.62f, 0.40f, 0.14f}, {0.35f, 0.33f, 0.32f}};
constexpr Triple kCloths[] = {{0.06f, 0.09f, 0.22f}, {0.12f, 0.11f, 0.11f}, {0.34f, 0.27f, 0.18f}};

struct Finish {
  float specular, gloss, metal = 0, emission = 0;
};

void Paint(Looks& looks, Part part, Triple color, Finish finish) {
  looks.red[part] = color.x;
  looks.green[part] = color.y;
  looks.blue[part] = color.z;
  looks.specular[part] = finish.specular;
  looks.gloss[part] = finish.gloss;
  looks.metal[part] = finish.metal;
  looks.emission[part] = finish.emission;
}

// Clay is chalky, metal is lit by what it mirrors, wood keeps some of its own brown.
void PaintMain(Looks& looks, int material, Triple paint) {
  switch (material) {
    case kPlastic:
      return Paint(looks, kMain, paint, {0.75f, 1.f});
    case kClay:
      return Paint(looks, kMain, paint * 0.92f + Triple{0.03f, 0.03f, 0.03f}, {0.08f, 0.1f});
    case kMetal:
      return Paint(looks, kMain, paint * 1.05f + Triple{0.03f, 0.03f, 0.03f}, {1.f, 0.85f, 0.8f});
    case kWooden:
      return Paint(looks, kMain, paint * 0.85f + Triple{0.05f, 0.03f, 0.015f}, {0.2f, 0.35f});
  }
}

void PaintBase(Random& random, int base, Looks& looks) {
  switch (base) {
    case kRoundWooden:
      return Paint(looks, kBasePart, Varied(random, {0.40f, 0.20f, 0.085f}, 0.1f), {0.3f, 0.45f});
    case kSquareStone:
      return Paint(looks, kBasePart, Varied(random, {0.40f, 0.40f, 0.40f}, 0.08f), {0.1f, 0.1f});
    case kRoundBlack:
      return Paint(looks, kBasePart, {0.02f, 0.02f, 0.022f}, {0.7f, 1.f});
  }
}

}  // namespace

void DrawLooks(Random& random, Scene& scene) {
  Looks& looks = scene.looks;
  const bool night = scene.background == kNeonNight;
  PaintMain(looks, scene.material, Varied(random, kPaints[scene.color], 0.10f));
  const Triple accent =
      scene.color == kWhiteColor ? Triple{0.45f, 0.42f, 0.40f} : Triple{0.82f, 0.78f, 0.70f};
  Paint(looks, kAccent, accent, {0.4f, 0.6f});
  Paint(looks, kDark, {0.09f, 0.085f, 0.095f}, {0.35f, 0.5f});
  Paint(looks, kWhite, {0.84f, 0.83f, 0.80f}, {0.4f, 0.6f});
  Paint(looks, kSkin, kSkins[random.Below(4)], {0.2f, 0.3f});
  Paint(looks, kBlack, {0.012f, 0.012f, 0.014f}, {0.8f, 1.f});
  Paint(looks, kGlass, {0.06f, 0.11f, 0.16f}, {1.f, 1.f});
  const Triple glow = kGlows[scene.subject == kRobot ? random.Below(2) : 0];
  Paint(looks, kGlow, glow * 0.8f, {0.4f, 0.6f, 0, night ? 1.3f : 0.35f});
  Paint(looks, kBrown, Varied(random, {0.26f, 0.12f, 0.055f}, 0.15f), {0.2f, 0.3f});
  Paint(looks, kPink, {0.80f, 0.22f, 0.24f}, {0.3f, 0.5f, 0, night ? 0.3f : 0});
  Paint(looks, kHair, kHairs[random.Below(4)], {0.25f, 0.3f});
  Paint(looks, kTrousers, kCloths[random.Below(3)], {0.1f, 0.2f});
  Paint(looks, kSteel, {0.42f, 0.43f, 0.45f}, {0.8f, 0.7f, 0.5f});
  Paint(looks, kLeaves, {0.10f, 0.30f, 0.06f}, {0.1f, 0.1f});
  PaintBase(random, scene.base, looks);
}

}  // namespace tiltshift::scenes
