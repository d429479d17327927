// Value noise from an integer hash: the same grain on every machine.
#pragma once

#include "models/recipe/scenes/lanes.h"

namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA {

// In [0, 1), from two whole numbers.
TS_LANES_INLINE Lanes Hash(Lanes x, Lanes y) {
  const UintVector a = (UintVector) __builtin_convertvector(x.v, IntVector);
  const UintVector b = (UintVector) __builtin_convertvector(y.v, IntVector);
  UintVector h = a * 0x27d4eb2du + b * 0x165667b1u;
  h ^= h >> 15;
  h *= 0x2c1b3c6du;
  h ^= h >> 12;
  return Lanes(__builtin_convertvector((IntVector)(h >> 8), FloatVector)) * (1.f / 16777216.f);
}

// In [0, 1), smooth, one random value a whole-numbered corner.
TS_LANES_INLINE Lanes Noise(Lanes x, Lanes y) {
  const Lanes ix = Floor(x), iy = Floor(y);
  Lanes fx = x - ix, fy = y - iy;
  fx = fx * fx * (3.f - fx - fx);
  fy = fy * fy * (3.f - fy - fy);
  const Lanes near = Mix(Hash(ix, iy), Hash(ix + 1.f, iy), fx);
  const Lanes far = Mix(Hash(ix, iy + 1.f), Hash(ix + 1.f, iy + 1.f), fx);
  return Mix(near, far, fy);
}

}  // namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA
