// A vector of floats in the compiler's own vector types, and the functions the kernels need over
// it.
//
// Included by kernels.inc and amx_finish.h alone, once an instruction set: everything here has
// internal linkage, so no function compiled for a newer processor can be picked by the linker for
// an older one.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define TS_SIMD_LANES 16
#elif defined(__AVX2__)
#define TS_SIMD_LANES 8
#else
#define TS_SIMD_LANES 4
#endif
#define TS_INLINE static inline __attribute__((always_inline))

namespace {

constexpr int kLanes = TS_SIMD_LANES;
typedef float Vec __attribute__((vector_size(4 * TS_SIMD_LANES), aligned(4)));
typedef int32_t VecI __attribute__((vector_size(4 * TS_SIMD_LANES), aligned(4)));
typedef uint32_t VecU __attribute__((vector_size(4 * TS_SIMD_LANES), aligned(4)));
typedef uint16_t VecH __attribute__((vector_size(2 * TS_SIMD_LANES), aligned(2)));

TS_INLINE Vec Broadcast(float x) { return Vec{} + x; }
#if defined(__AVX512F__)
TS_INLINE Vec Max(Vec a, Vec b) { return (Vec)_mm512_max_ps((__m512)a, (__m512)b); }
TS_INLINE Vec Min(Vec a, Vec b) { return (Vec)_mm512_min_ps((__m512)a, (__m512)b); }
#else
TS_INLINE Vec Max(Vec a, Vec b) { return a > b ? a : b; }
TS_INLINE Vec Min(Vec a, Vec b) { return a < b ? a : b; }
#endif

TS_INLINE Vec Load(const float* p) {
  Vec v;
  memcpy(&v, p, sizeof(v));
  return v;
}
TS_INLINE void Store(Vec v, float* p) { memcpy(p, &v, sizeof(v)); }

// bf16 is a float's upper half; rounded to nearest, ties to even. A NaN may come out as an
// infinity.
TS_INLINE Vec Load(const uint16_t* p) {
  VecH h;
  memcpy(&h, p, sizeof(h));
  return (Vec)(__builtin_convertvector(h, VecU) << 16);
}
TS_INLINE void Store(Vec v, uint16_t* p) {
#if defined(__AVX512BF16__)
  const __m256bh rounded = _mm512_cvtneps_pbh((__m512)v);
  memcpy(p, &rounded, sizeof(rounded));
#else
  const VecU u = (VecU)v;
  const VecU rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  const VecH h = __builtin_convertvector(rounded, VecH);
  memcpy(p, &h, sizeof(h));
#endif
}

// The last elements of a row, fewer than a vector; the rest reads as zero.
template <class T>
TS_INLINE Vec LoadPart(const T* p, int64_t count) {
  T full[kLanes] = {};
  memcpy(full, p, count * sizeof(T));
  return Load(full);
}
template <class T>
TS_INLINE void StorePart(Vec v, T* p, int64_t count) {
  T full[kLanes];
  Store(v, full);
  memcpy(p, full, count * sizeof(T));
}

// Halves added until one is left: an order that follows from the width alone.
TS_INLINE float Sum(Vec v) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps((__m512)v);
#else
  float lanes[kLanes];
  Store(v, lanes);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
#endif
}
TS_INLINE float Largest(Vec v) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_ps((__m512)v);
#else
  float lanes[kLanes];
  Store(v, lanes);
  float largest = lanes[0];
  for (int i = 1; i < kLanes; ++i) largest = lanes[i] > largest ? lanes[i] : largest;
  return largest;
#endif
}

// exp(x) = 2^n 2^f with n whole and |f| <= 1/2. 2^f is a minimax polynomial: of degree 6, within
// 2e-9 (fp32's rounding is more) for kExact, else of degree 4 or 3, within 3e-6 or 1e-4. x below
// -87 gives about 1e-38.
template <bool kExact>
TS_INLINE Vec Exp(Vec x) {
#if defined(__AVX512F__)
  if (!kExact) {  // vreduce and vscalef do the rounding, and 2^t in range or out of it
    const __m512 t = (__m512)(x * 1.44269504f);
    const Vec f = (Vec)_mm512_reduce_ps(t, 0x08);
    const __m512 n = _mm512_sub_ps(t, (__m512)f);
    Vec p = f * 5.50090222e-2f + 2.42211313e-1f;
    p = p * f + 6.93282956e-1f;
    p = p * f + 1.0f;
    return (Vec)_mm512_scalef_ps((__m512)p, n);
  }
#endif
  const Vec t = Min(Max(x * 1.44269504f, Broadcast(-126.0f)), Broadcast(126.0f));
  const Vec shifted =
      t + 12582912.0f;  // 1.5 * 2^23: rounds to a whole number, kept in the low bits
  const Vec f = t - (shifted - 12582912.0f);
  Vec p;
  if (kExact) {
    p = f * 1.53533714e-4f + 1.33988779e-3f;
    p = p * f + 9.61843735e-3f;
    p = p * f + 5.55033246e-2f;
    p = p * f + 2.40226479e-1f;
    p = p * f + 6.93147203e-1f;
  } else {
    p = f * 9.58286949e-3f + 5.59064681e-2f;
    p = p * f + 2.40240986e-1f;
    p = p * f + 6.93124188e-1f;
  }
  p = p * f + 1.0f;
  return (Vec)((VecI)p + ((VecI)shifted << 23));
}

// 1 / x for x in [1, 2^120]: a division, or within 2^-12.5: the processor's own guess, or a linear
// one in the exponent and two Newton steps. With AVX-512 x may be infinite.
template <bool kExact>
TS_INLINE Vec Reciprocal(Vec x) {
  if (kExact) return 1.0f / x;
#if defined(__AVX512F__)
  return (Vec)_mm512_rcp14_ps((__m512)x);
#endif
  Vec r = (Vec)(0x7ef311c7 - (VecI)x);
  r = r * (2.0f - x * r);
  return r * (2.0f - x * r);
}

template <bool kExact>
TS_INLINE Vec Sigmoid(Vec x) {
#if defined(__AVX512F__)
  if (!kExact) return Reciprocal<false>(1.0f + Exp<false>(-x));
#endif
  return Reciprocal<kExact>(1.0f + Exp<kExact>(Min(-x, Broadcast(80.0f))));
}

// x * Phi(x). kExact: erf by Abramowitz and Stegun 7.1.26, within 1.5e-7. Else Phi(x) as the
// sigmoid of an odd polynomial, fitted for the smallest error of the product: within 2.6e-5.
template <bool kExact>
TS_INLINE Vec Gelu(Vec x) {
  if (!kExact) {
    const Vec s = Min(x * x, Broadcast(16.0f));
    return x * Sigmoid<false>(x * (1.59501938f + s * (0.0740081177f - 7.0263008e-4f * s)));
  }
  const Vec z = (x < 0.0f ? -x : x) * 0.70710678f;
  const Vec t = 1.0f / (1.0f + 0.3275911f * z);
  Vec p = t * 1.061405429f - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  const Vec tail = 0.5f * p * t * Exp<true>(-z * z);  // 1 - Phi(|x|)
  return x * (x < 0.0f ? tail : 1.0f - tail);
}

}  // namespace
