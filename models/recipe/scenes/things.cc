#include "models/recipe/scenes/figurines.h"

namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA {

template <bool kWithPart>
Nearest Car(const float shape[8], const Vec3& p) {
  Union<kWithPart> car;
  const Vec3 m = Mirrored(p);
  const Vec3 corner{m.x, p.y, Abs(p.z)};
  const Lanes hull = Box(p, {0, 0.34f, 0}, {0.40f, 0.17f, 0.80f}, 0.13f);
  car.Add(Max(hull, -CylinderX(corner, {0.4f, 0.19f, 0.47f}, {0.215f, 0.2f, 0.02f})), kMain);
  car.Add(Box(p, {0, 0.58f, -0.1f}, {0.33f, 0.22f, 0.42f}, 0.15f), kGlass);
  car.Add(Box(p, {0, 0.765f, -0.1f}, {0.305f, 0.05f, 0.33f}, 0.045f), kMain);
  car.Add(Max(Box(p, {0, 0.58f, -0.1f}, {0.338f, 0.225f, 0.428f}, 0.15f), Abs(p.z + 0.1f) - 0.035f),
          kMain);
  car.Add(CylinderX(corner, {0.36f, 0.18f, 0.47f}, {0.175f, 0.085f, 0.04f}), kBlack);
  car.Add(CylinderX(corner, {0.375f, 0.18f, 0.47f}, {0.095f, 0.08f, 0.02f}), kSteel);
  car.Add(Ellipsoid(m, {0.25f, 0.39f, 0.77f}, {0.085f, 0.085f, 0.05f}), kGlow);
  car.Add(Ellipsoid(m, {0.27f, 0.39f, -0.79f}, {0.08f, 0.05f, 0.03f}), kPink);
  car.Add(Box(p, {0, 0.24f, 0.79f}, {0.36f, 0.045f, 0.04f}, 0.03f), kSteel);
  car.Add(Box(p, {0, 0.24f, -0.79f}, {0.36f, 0.045f, 0.04f}, 0.03f), kSteel);
  car.Add(Box(p, {0, 0.38f, 0.8f}, {0.1f, 0.035f, 0.02f}, 0.01f), kDark);
  const bool luggage = shape[1] > 0.6f;
  if (luggage) {
    car.Add(Box(p, {0, 0.88f, -0.1f}, {0.22f, 0.05f, 0.2f}, 0.03f), kBrown);
    car.Add(Box(p, {0, 0.96f, -0.05f}, {0.15f, 0.05f, 0.12f}, 0.03f), kAccent);
  }
  return car.nearest;
}

template <bool kWithPart>
Nearest House(const float shape[8], const Vec3& p) {
  Union<kWithPart> house;
  const Vec3 m = Mirrored(p);
  house.Add(Box(p, {0, 0.4f, 0}, {0.5f, 0.42f, 0.42f}, 0.03f), kMain);
  const Lanes under_roof = m.x * 0.72f + (p.y - 1.22f) * 0.69f;
  house.Add(Max(Max(under_roof, Abs(p.z) - 0.41f), 0.7f - p.y), kMain);
  const Lanes slab = Abs(m.x * 0.72f + (p.y - 1.25f) * 0.69f) - 0.045f;
  house.Add(Max(Max(slab, Abs(p.z) - 0.52f), m.x - 0.64f) - 0.015f,
            shape[3] > 0.5f ? kBrown : kDark);
  house.Add(Box(p, {0.3f, 1.2f, -0.15f}, {0.09f, 0.22f, 0.09f}, 0.02f), kSteel);
  house.Add(Box(p, {0, 0.24f, 0.42f}, {0.12f, 0.24f, 0.03f}, 0.02f), kBrown);
  house.Add(Sphere(p, {0.07f, 0.24f, 0.46f}, 0.02f), kGlow);

  house.Add(Box(m, {0.31f, 0.48f, 0.42f}, {0.105f, 0.12f, 0.025f}, 0.01f), kWhite);
  const Lanes across = Abs(m.x - 0.31f), up = Abs(p.y - 0.48f);
  const Lanes pane = Max(Max(across - 0.08f, up - 0.095f), Abs(p.z - 0.43f) - 0.03f);
  house.Add(Max(Max(pane, 0.012f - across), 0.012f - up), kGlow);  // four panes, a cross between
  house.Add(CylinderZ(p, {0, 0.92f, 0.4f}, {0.09f, 0.035f, 0.01f}), kGlow);
  const Vec3 side{m.x, p.y, Abs(p.z)};
  house.Add(Box(side, {0.5f, 0.46f, 0.2f}, {0.02f, 0.12f, 0.1f}, 0.01f), kWhite);
  house.Add(Box(side, {0.51f, 0.46f, 0.2f}, {0.02f, 0.095f, 0.075f}, 0.005f), kGlow);
  house.Add(Box(p, {0, 0.03f, 0.5f}, {0.18f, 0.03f, 0.12f}, 0.01f), kSteel);
  const bool bushes = shape[1] > 0.5f;
  if (bushes) {
    house.Add(Sphere(p, {-0.62f, 0.15f, 0.35f}, 0.16f), kLeaves);
    house.Add(Sphere(p, {0.62f, 0.12f, 0.4f}, 0.13f), kLeaves);
  }
  return house.nearest;
}

template <bool kWithPart>
Nearest Bottle(const float shape[8], const Vec3& p) {
  Union<kWithPart> bottle;
  const Lanes from_axis = Hypotenuse(p.x, p.z);
  const float radius = 0.30f + 0.1f * shape[1], middle = 0.40f + 0.08f * shape[2];
  const float shoulder = 2 * middle;
  Lanes glass = Cylinder(from_axis, p.y - middle, {radius, middle, 0.07f});
  glass = Melt(glass, Cone(p, {0, shoulder - 0.06f, 0}, {radius - 0.06f, 0.10f, 0.32f}), 0.12f);
  glass = Melt(glass, CylinderY(p, {0, shoulder + 0.32f, 0}, {0.105f, 0.18f, 0.02f}), 0.06f);
  bottle.Add(glass, kMain);
  bottle.Add(TorusY(p, {0, shoulder + 0.47f, 0}, {0.105f, 0.03f}), kMain);
  bottle.Add(CylinderY(p, {0, shoulder + 0.55f, 0}, {0.085f, 0.08f, 0.02f}),
             shape[3] > 0.4f ? kBrown : kSteel);

  const Lanes from_label = Abs(p.y - (middle - 0.02f));
  const Lanes paper = Abs(from_axis - (radius + 0.004f)) - 0.006f;
  bottle.Add(Max(Max(paper, from_label - 0.19f), -0.15f - p.z), kWhite);
  const Lanes band = Abs(from_axis - (radius + 0.01f)) - 0.006f;
  bottle.Add(Max(Max(band, from_label - 0.05f), 0.02f - p.z), shape[4] > 0.5f ? kPink : kDark);
  return bottle.nearest;
}

// Two opposite fins, `along` measured out from the axis in their plane.
TS_LANES_INLINE Lanes Fin(Lanes across, Lanes along, Lanes y) {
  const Lanes chord = Abs(along - 0.36f + (y - 0.3f) * 0.35f) - 0.16f;
  const Lanes sweep = Abs(y - 0.25f + (along - 0.35f) * 0.55f) - 0.2f;
  return Max(across - 0.03f, Max(chord, sweep));
}

template <bool kWithPart>
Nearest Rocket(const float shape[8], const Vec3& p) {
  Union<kWithPart> rocket;
  const Lanes from_axis = Hypotenuse(p.x, p.z);
  const Lanes y = (p.y - 0.78f) * (1.f / 0.80f);
  const Lanes profile = 0.335f * Sqrt(Max(1.f - y * y * Abs(y), 0.f));
  const Lanes hull = Max((from_axis - profile) * 0.72f, Max(0.2f - p.y, p.y - 1.62f));
  const Mask nose_or_band = (p.y > 1.18f) | (Abs(p.y - 0.36f) < 0.035f);
  rocket.Add(hull, Select(nose_or_band, Lanes(kAccent), Lanes(kMain)));
  rocket.Add(Cone(p, {0, 0.1f, 0}, {0.22f, 0.15f, 0.13f}), kSteel);
  const Lanes ax = Abs(p.x), az = Abs(p.z);
  rocket.Add(Min(Fin(az, ax, p.y), Fin(ax, az, p.y)) * 0.85f - 0.012f, kAccent);
  rocket.Add(TorusZ(p, {0, 0.92f, 0.32f}, {0.125f, 0.032f}), kSteel);
  rocket.Add(Ellipsoid(p, {0, 0.92f, 0.30f}, {0.12f, 0.12f, 0.04f}), kGlass);
  const bool second_window = shape[1] > 0.5f;
  if (second_window) rocket.Add(Sphere(p, {0, 0.56f, 0.32f}, 0.055f), kGlass);
  rocket.Add(Sphere(p, {0, 1.6f, 0}, 0.035f), kSteel);
  return rocket.nearest;
}

template Nearest Car<false>(const float[8], const Vec3&);
template Nearest Car<true>(const float[8], const Vec3&);
template Nearest House<false>(const float[8], const Vec3&);
template Nearest House<true>(const float[8], const Vec3&);
template Nearest Bottle<false>(const float[8], const Vec3&);
template Nearest Bottle<true>(const float[8], const Vec3&);
template Nearest Rocket<false>(const float[8], const Vec3&);
template Nearest Rocket<true>(const float[8], const Vec3&);

}  // namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA
