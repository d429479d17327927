// Everything that one picture depends on, as plain numbers. Units: the subject stands on y = 0 and
// is about 1.5 high; x is to the right, y up, z towards the camera of a front view. Colours are
// linear light.
#pragma once

#include <cstdint>

#include "models/recipe/scenes/grammar.h"

namespace tiltshift::scenes {

// A point, a direction or a colour (red, green, blue).
struct Triple {
  float x, y, z;
};

// What a surface point belongs to; an index into Looks.
enum Part {
  kBasePart,
  kMain,
  kAccent,
  kDark,
  kWhite,
  kSkin,
  kBlack,
  kGlass,
  kGlow,
  kBrown,
  kPink,
  kHair,
  kTrousers,
  kSteel,
  kLeaves
};
inline constexpr int kParts = 16;

// How each part answers light, as tables that the shader looks up sixteen at a time.
struct Looks {
  float red[kParts], green[kParts], blue[kParts];
  float specular[kParts];  // strength of highlights and reflections
  float gloss[kParts];     // 0: wide highlights, 1: sharp ones
  float metal[kParts];     // 0: coats its colour, 1: reflects in its colour
  float emission[kParts];
};

struct Camera {
  float pitch;     // radians, looking down
  float field;     // of view, radians
  float distance;  // to the point it looks at
  float target_x, target_y;
  float focus;     // distance that is sharp
  float aperture;  // scale of the blur elsewhere
};

struct Lighting {
  Triple direction;  // towards the light, of length 1
  Triple color;
  float hardness;      // of shadow edges
  Triple sky, ground;  // ambient light from above and below
  Triple left_rim, right_rim;
};

// A soft light, bush or tree far behind, in view coordinates.
struct Distant {
  float x, y, size;
  Triple color;
};

struct Surroundings {
  Triple ground_a, ground_b;  // the ground's two tones
  Triple horizon, zenith;     // the backdrop's gradient
  Distant distant[24];
  int distant_count;
};

struct Scene {
  int subject, color, material, base, background, light, view;
  float shape[8];        // [0, 1) each: pose and proportions, read by the subject's own function
  float texture_offset;  // [0, 40): where in the noise this scene lies
  float yaw_cos, yaw_sin;
  Camera camera;
  Lighting lighting;
  Surroundings around;
  Looks looks;
};

// The scene number `index` of `seed`. Fixing an attribute doesn't shift the draws of the others.
Scene DrawScene(uint64_t seed, uint64_t index, const FixedAttributes& fixed);

std::string Caption(const Scene& scene);

}  // namespace tiltshift::scenes
