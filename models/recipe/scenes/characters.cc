#include "models/recipe/scenes/figurines.h"

namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA {

template <bool kWithPart>
Nearest Person(const float shape[8], const Vec3& p) {
  Union<kWithPart> body;
  const Vec3 m = Mirrored(p);
  body.Add(Capsule(m, {0.13f, 0.12f, 0}, {0.13f, 0.42f, 0}, 0.105f), kTrousers);
  body.Add(Ellipsoid(m, {0.13f, 0.07f, 0.05f}, {0.12f, 0.08f, 0.18f}), kBrown);
  body.Add(Melt(Box(p, {0, 0.62f, 0}, {0.23f, 0.24f, 0.15f}, 0.12f),
                Box(p, {0, 0.45f, 0}, {0.22f, 0.09f, 0.15f}, 0.08f), 0.08f),
           kMain);

  const bool waves = shape[1] > 0.5f;
  const float right = waves ? 2.4f : 0.45f + shape[0] * 0.5f, left = 0.4f + shape[2] * 0.4f;
  const Triple right_hand{0.24f + 0.36f * sinf(right), 0.78f - 0.36f * cosf(right), 0.08f};
  const Triple left_hand{-0.24f - 0.36f * sinf(left), 0.78f - 0.36f * cosf(left), 0.1f};
  body.Add(Capsule(p, {0.24f, 0.78f, 0}, right_hand, 0.075f), kMain);
  body.Add(
      Sphere(p,
             {right_hand.x + 0.03f, right_hand.y + (waves ? 0.05f : -0.05f), right_hand.z + 0.02f},
             0.085f),
      kSkin);
  body.Add(Capsule(p, {-0.24f, 0.78f, 0}, left_hand, 0.075f), kMain);
  body.Add(Sphere(p, {left_hand.x - 0.02f, left_hand.y - 0.05f, left_hand.z + 0.02f}, 0.085f),
           kSkin);

  body.Add(Ellipsoid(p, {0, 1.18f, 0}, {0.31f, 0.32f, 0.30f}), kSkin);
  Lanes hair = Max(Ellipsoid(p, {0, 1.22f, -0.02f}, {0.345f, 0.345f, 0.335f}),
                   -(p.y - 1.22f + (p.z - 0.05f) * -0.55f));
  const bool long_hair = shape[3] > 0.55f, cap = !long_hair && shape[3] > 0.3f;
  if (long_hair) hair = Min(hair, Ellipsoid(p, {0, 1.12f, -0.16f}, {0.32f, 0.36f, 0.22f}));
  if (cap) {
    hair = Max(Ellipsoid(p, {0, 1.24f, 0}, {0.36f, 0.33f, 0.35f}), -(p.y - 1.3f));
    hair = Min(hair, CylinderY(p, {0, 1.31f, 0.16f}, {0.33f, 0.02f, 0.015f}));
  }
  body.Add(hair, cap ? kMain : kHair);
  body.Add(Sphere(m, {0.11f, 1.17f, 0.275f}, 0.042f), kBlack);
  body.Add(Ellipsoid(m, {0.17f, 1.07f, 0.245f}, {0.05f, 0.03f, 0.03f}), kPink);
  body.Add(Sphere(p, {0, 1.11f, 0.3f}, 0.032f), kSkin);
  return body.nearest;
}

template <bool kWithPart>
Nearest Cat(const float shape[8], const Vec3& p) {
  Union<kWithPart> body;
  const Vec3 m = Mirrored(p);
  Lanes fur = Melt(Ellipsoid(p, {0, 0.36f, -0.08f}, {0.36f, 0.38f, 0.38f}),
                   Ellipsoid(p, {0, 0.6f, 0.06f}, {0.24f, 0.36f, 0.22f}), 0.15f);
  fur = Melt(fur, Ellipsoid(m, {0.27f, 0.2f, 0}, {0.16f, 0.2f, 0.27f}), 0.06f);
  fur = Melt(fur, Capsule(m, {0.11f, 0.1f, 0.26f}, {0.11f, 0.5f, 0.2f}, 0.085f), 0.05f);
  fur = Melt(fur, Ellipsoid(m, {0.11f, 0.06f, 0.31f}, {0.1f, 0.07f, 0.13f}), 0.03f);
  const float side = shape[1] > 0.5f ? 1.f : -1.f;
  const Triple tail{0.5f * side, 0.12f, -0.25f};
  fur = Melt(fur, Capsule(p, {0.15f * side, 0.1f, -0.4f}, tail, 0.07f), 0.06f);
  fur = Melt(fur, Capsule(p, tail, {0.56f * side, 0.35f + 0.3f * shape[2], -0.15f}, 0.065f), 0.05f);

  const Vec3 q = m - All(0.22f, 1.28f, 0.1f);
  const Vec3 ear{q.x * 0.94f - q.y * 0.34f, q.x * 0.34f + q.y * 0.94f, q.z * 1.8f};
  const Lanes head = Melt(Ellipsoid(p, {0, 1.06f, 0.12f}, {0.36f, 0.31f, 0.3f}),
                          Cone(ear, {0, -0.08f, 0}, {0.16f, 0.005f, 0.32f}) * 0.6f, 0.03f);
  body.Add(Melt(fur, head, 0.06f), kMain);
  body.Add(Ellipsoid(p, {0, 0.56f, 0.18f}, {0.15f, 0.24f, 0.12f}), kAccent);
  body.Add(Melt(Ellipsoid(m, {0.075f, 0.97f, 0.38f}, {0.09f, 0.07f, 0.07f}),
                Ellipsoid(p, {0, 0.92f, 0.36f}, {0.08f, 0.06f, 0.06f}), 0.03f),
           kAccent);
  body.Add(Ellipsoid(p, {0, 1.02f, 0.44f}, {0.045f, 0.03f, 0.03f}), kPink);
  body.Add(Ellipsoid(m, {0.14f, 1.11f, 0.385f}, {0.055f, 0.065f, 0.035f}), kBlack);
  body.Add(Sphere(m, {0.125f, 1.135f, 0.415f}, 0.016f), kWhite);
  return body.nearest;
}

template <bool kWithPart>
Nearest Dog(const float shape[8], const Vec3& p) {
  Union<kWithPart> body;
  const Vec3 m = Mirrored(p);
  Lanes fur = Melt(Capsule(p, {0, 0.52f, -0.36f}, {0, 0.54f, 0.26f}, 0.235f),
                   Ellipsoid(p, {0, 0.56f, 0.26f}, {0.24f, 0.27f, 0.2f}), 0.1f);
  fur = Melt(fur, Capsule(m, {0.15f, 0.1f, 0.3f}, {0.15f, 0.45f, 0.28f}, 0.085f), 0.06f);
  fur = Melt(fur, Capsule(m, {0.15f, 0.1f, -0.42f}, {0.15f, 0.45f, -0.38f}, 0.085f), 0.06f);
  fur = Melt(fur, Ellipsoid(m, {0.15f, 0.06f, 0.35f}, {0.1f, 0.07f, 0.13f}), 0.03f);
  fur = Melt(fur, Ellipsoid(m, {0.15f, 0.06f, -0.37f}, {0.1f, 0.07f, 0.13f}), 0.03f);
  const Triple tail{0.12f * (shape[1] - 0.5f), 0.95f + 0.1f * shape[2], -0.74f};
  fur = Melt(fur, Capsule(p, {0, 0.68f, -0.52f}, tail, 0.06f), 0.07f);
  fur = Melt(fur, Capsule(p, {0, 0.62f, 0.34f}, {0, 0.9f, 0.42f}, 0.16f), 0.1f);
  fur = Melt(fur, Ellipsoid(p, {0, 1.06f, 0.46f}, {0.27f, 0.26f, 0.27f}), 0.05f);
  body.Add(fur, kMain);

  body.Add(Melt(Ellipsoid(p, {0, 0.97f, 0.73f}, {0.145f, 0.115f, 0.2f}),
                Ellipsoid(p, {0, 0.93f, 0.64f}, {0.15f, 0.1f, 0.16f}), 0.05f),
           kAccent);
  body.Add(Ellipsoid(p, {0, 1.045f, 0.9f}, {0.065f, 0.05f, 0.05f}), kBlack);
  body.Add(Ellipsoid(p, {0, 0.875f, 0.83f}, {0.05f, 0.03f, 0.08f}), kPink);
  const Vec3 q = m - All(0.27f, 1.02f, 0.42f);
  const Vec3 ear{q.x * 0.96f + q.y * 0.28f, q.y * 0.96f - q.x * 0.28f, q.z};
  body.Add(Ellipsoid(ear, {0, 0, 0}, {0.065f, 0.24f, 0.14f}), shape[3] > 0.5f ? kBrown : kDark);
  body.Add(Sphere(m, {0.115f, 1.12f, 0.695f}, 0.044f), kBlack);
  body.Add(Sphere(m, {0.105f, 1.138f, 0.73f}, 0.014f), kWhite);
  const Vec3 c = p - All(0, 0.78f, 0.38f);
  const Vec3 collar{c.x, c.y * 0.96f + c.z * 0.28f, c.z * 0.96f - c.y * 0.28f};
  body.Add(TorusY(collar, {0, 0, 0}, {0.185f, 0.035f}), shape[4] > 0.5f ? kBlack : kGlow);
  return body.nearest;
}

template <bool kWithPart>
Nearest Robot(const float shape[8], const Vec3& p) {
  Union<kWithPart> body;
  const Vec3 m = Mirrored(p);
  body.Add(CylinderY(m, {0.15f, 0.2f, 0}, {0.07f, 0.16f, 0.02f}), kSteel);
  body.Add(Box(m, {0.15f, 0.07f, 0.05f}, {0.12f, 0.08f, 0.18f}, 0.04f), kMain);
  body.Add(Box(p, {0, 0.58f, 0}, {0.31f, 0.26f, 0.22f}, 0.06f), kMain);
  body.Add(Box(p, {0, 0.6f, 0.215f}, {0.19f, 0.13f, 0.025f}, 0.02f), kWhite);
  body.Add(CylinderZ(p, {-0.08f, 0.63f, 0.24f}, {0.045f, 0.02f, 0.01f}), kGlow);
  body.Add(CylinderZ(p, {0.08f, 0.63f, 0.24f}, {0.045f, 0.02f, 0.01f}), kPink);
  body.Add(Box(p, {0, 0.53f, 0.24f}, {0.12f, 0.02f, 0.015f}, 0.01f), kDark);
  body.Add(CylinderY(p, {0, 0.87f, 0}, {0.1f, 0.05f, 0.02f}), kSteel);

  body.Add(Box(p, {0, 1.13f, 0}, {0.34f, 0.23f, 0.26f}, 0.08f), kMain);
  body.Add(Box(p, {0, 1.13f, 0.25f}, {0.26f, 0.155f, 0.03f}, 0.025f), kBlack);
  body.Add(CylinderZ(m, {0.12f, 1.15f, 0.275f}, {0.062f, 0.02f, 0.015f}), kGlow);
  body.Add(Box(p, {0, 1.035f, 0.27f}, {0.09f, 0.014f, 0.015f}, 0.01f), kGlow);
  body.Add(CylinderY(p, {0, 1.44f, 0}, {0.018f, 0.1f, 0.01f}), kSteel);
  body.Add(Sphere(p, {0, 1.57f, 0}, 0.06f), kPink);
  body.Add(CylinderX(m, {0.36f, 1.13f, 0}, {0.08f, 0.045f, 0.02f}), kSteel);

  const float angle = 0.25f + shape[2] * 0.5f;
  const Triple right_hand{0.36f + 0.34f * sinf(angle), 0.72f - 0.34f * cosf(angle), 0.08f};
  const Triple left_hand = shape[1] > 0.6f ? Triple{-0.55f, 1.0f, 0.08f}
                                           : Triple{-right_hand.x, right_hand.y, right_hand.z};
  body.Add(Sphere(m, {0.36f, 0.72f, 0}, 0.1f), kSteel);
  body.Add(Capsule(p, {0.36f, 0.72f, 0}, right_hand, 0.065f), kMain);
  body.Add(Sphere(p, right_hand, 0.095f), kSteel);
  body.Add(Capsule(p, {-0.36f, 0.72f, 0}, left_hand, 0.065f), kMain);
  body.Add(Sphere(p, left_hand, 0.095f), kSteel);
  return body.nearest;
}

template Nearest Person<false>(const float[8], const Vec3&);
template Nearest Person<true>(const float[8], const Vec3&);
template Nearest Cat<false>(const float[8], const Vec3&);
template Nearest Cat<true>(const float[8], const Vec3&);
template Nearest Dog<false>(const float[8], const Vec3&);
template Nearest Dog<true>(const float[8], const Vec3&);
template Nearest Robot<false>(const float[8], const Vec3&);
template Nearest Robot<true>(const float[8], const Vec3&);

}  // namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA
