// Sixteen floats at a time, as a 4x4 tile of rays, in the compilers' own vector types: no
// intrinsics, so the same source is AVX-512, AVX2, SSE2 or NEON. The build compiles each source
// that includes this header once an instruction set (TILTSHIFT_SCENES_ISA names the namespace it
// lands in; isa.h chooses at run time).
//
// Because one program holds several compilations, these sources call no inline function of the
// standard library: the linker would keep one copy of it, perhaps the one an older processor can't
// run.
#pragma once

#include <math.h>
#include <stdint.h>

#ifndef TILTSHIFT_SCENES_ISA
#error "compile through models/recipe/scenes/CMakeLists.txt, which says for which instruction set"
#endif

#define TS_LANES_INLINE static inline __attribute__((always_inline))

namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA {

inline constexpr int kLanes = 16;
typedef float FloatVector __attribute__((vector_size(64)));
typedef int32_t IntVector __attribute__((vector_size(64)));
typedef uint32_t UintVector __attribute__((vector_size(64)));
typedef uint64_t WideVector __attribute__((vector_size(64)));

struct Lanes {
  FloatVector v;
  Lanes() = default;
  __attribute__((always_inline)) Lanes(float all) : v(all - FloatVector{}) {}
  __attribute__((always_inline)) explicit Lanes(FloatVector vector) : v(vector) {}
};

// A lane is all ones (true) or all zeros.
struct Mask {
  IntVector v;
};

TS_LANES_INLINE Lanes operator+(Lanes a, Lanes b) { return Lanes(a.v + b.v); }
TS_LANES_INLINE Lanes operator-(Lanes a, Lanes b) { return Lanes(a.v - b.v); }
TS_LANES_INLINE Lanes operator*(Lanes a, Lanes b) { return Lanes(a.v * b.v); }
TS_LANES_INLINE Lanes operator/(Lanes a, Lanes b) { return Lanes(a.v / b.v); }
TS_LANES_INLINE Lanes operator-(Lanes a) { return Lanes(-a.v); }
TS_LANES_INLINE Mask operator<(Lanes a, Lanes b) { return {a.v < b.v}; }
TS_LANES_INLINE Mask operator>(Lanes a, Lanes b) { return {a.v > b.v}; }

TS_LANES_INLINE Mask operator&(Mask a, Mask b) { return {a.v & b.v}; }
TS_LANES_INLINE Mask operator|(Mask a, Mask b) { return {a.v | b.v}; }
TS_LANES_INLINE Mask operator~(Mask a) { return {~a.v}; }
TS_LANES_INLINE Mask NoLanes() { return {IntVector{}}; }
TS_LANES_INLINE Mask AllLanes() { return {~IntVector{}}; }

TS_LANES_INLINE bool Any(Mask mask) {
  const WideVector w = (WideVector)mask.v;
  return (w[0] | w[1] | w[2] | w[3] | w[4] | w[5] | w[6] | w[7]) != 0;
}

TS_LANES_INLINE Lanes Select(Mask mask, Lanes yes, Lanes no) {
  return Lanes(mask.v ? yes.v : no.v);
}
TS_LANES_INLINE Lanes Min(Lanes a, Lanes b) { return Lanes(a.v < b.v ? a.v : b.v); }
TS_LANES_INLINE Lanes Max(Lanes a, Lanes b) { return Lanes(a.v > b.v ? a.v : b.v); }
TS_LANES_INLINE Lanes Abs(Lanes a) {
  return Lanes((FloatVector)((IntVector)a.v & (0x7fffffff - IntVector{})));
}
TS_LANES_INLINE Lanes Clamp(Lanes a, Lanes low, Lanes high) { return Min(Max(a, low), high); }
TS_LANES_INLINE Lanes Saturate(Lanes a) { return Clamp(a, 0.f, 1.f); }
TS_LANES_INLINE Lanes Mix(Lanes a, Lanes b, Lanes share) { return a + (b - a) * share; }

// The square root of what is above 0, else 0.
TS_LANES_INLINE Lanes Sqrt(Lanes a) {
  FloatVector x = Max(a, 0.f).v;
  for (int i = 0; i < kLanes; ++i) x[i] = sqrtf(x[i]);
  return Lanes(x);
}

// |a| < 2^31.
TS_LANES_INLINE Lanes Floor(Lanes a) {
  const FloatVector whole =
      __builtin_convertvector(__builtin_convertvector(a.v, IntVector), FloatVector);
  return Select(Lanes(whole) > a, Lanes(whole) - 1.f, Lanes(whole));
}
TS_LANES_INLINE Lanes Fraction(Lanes a) { return a - Floor(a); }

// 0 below `low`, 1 above `high`, the cubic 3t^2 - 2t^3 between.
TS_LANES_INLINE Lanes SmoothStep(float low, float high, Lanes x) {
  const Lanes t = Saturate((x - low) * (1.f / (high - low)));
  return t * t * (3.f - t - t);
}

// sin(x) to 0.1%: a parabola a half wave, bent once.
TS_LANES_INLINE Lanes Sine(Lanes x) {
  const Lanes turns = x * 0.15915494f;
  const Lanes t = turns - Floor(turns + 0.5f);
  const Lanes y = t * (8.f - 16.f * Abs(t));
  return y * (0.775f + 0.225f * Abs(y));
}

// x^(2^times).
TS_LANES_INLINE Lanes SquareTimes(Lanes x, int times) {
  for (int i = 0; i < times; ++i) x = x * x;
  return x;
}

// table[index] a lane; the indices are whole numbers in 0..15.
TS_LANES_INLINE Lanes Look(const float table[kLanes], Lanes index) {
  const IntVector at = __builtin_convertvector(index.v, IntVector);
  FloatVector found;
  for (int i = 0; i < kLanes; ++i) found[i] = table[at[i]];
  return Lanes(found);
}

}  // namespace tiltshift::scenes::TILTSHIFT_SCENES_ISA
