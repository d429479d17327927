// Arithmetic on one colour, and its random variation.
#pragma once

#include <cmath>

#include "models/recipe/scenes/random.h"
#include "models/recipe/scenes/scene.h"

namespace tiltshift::scenes {

inline Triple operator*(Triple a, float s) { return {a.x * s, a.y * s, a.z * s}; }
inline Triple operator*(Triple a, Triple b) { return {a.x * b.x, a.y * b.y, a.z * b.z}; }
inline Triple operator+(Triple a, Triple b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }

inline Triple Normalized(Triple a) {
  return a * (1 / std::sqrt(a.x * a.x + a.y * a.y + a.z * a.z));
}

// Brightness varies by up to `amount`, each channel by half of that besides. Braces fix the order
// of draws.
inline Triple Varied(Random& random, Triple color, float amount) {
  const float k = 1 + random.Between(-amount, amount);
  const Triple channels{1 + random.Between(-amount, amount) * 0.5f,
                        1 + random.Between(-amount, amount) * 0.5f,
                        1 + random.Between(-amount, amount) * 0.5f};
  return color * k * channels;
}

}  // namespace tiltshift::scenes
