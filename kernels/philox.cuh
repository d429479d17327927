// Standard normal numbers on the card with the bits of engine/philox.h, whose code this repeats:
// Philox 4x32-10 (Salmon et al., SC 2011), then Box-Muller in double, with logarithm, sine and
// cosine as polynomials. Every product is rounded (MultiplyRounded), as there; divisions and roots
// are IEEE's.
#pragma once

#include "kernels/device.h"

namespace tiltshift::kernels {

struct PhiloxWords {
  uint32_t word[4];
};

__device__ __forceinline__ PhiloxWords Philox4x32(PhiloxWords c, uint32_t key0, uint32_t key1) {
  constexpr uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;  // golden ratio, sqrt(3) - 1
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{kMultiplier0} * c.word[0], p1 = uint64_t{kMultiplier1} * c.word[2];
    c = {{static_cast<uint32_t>(p1 >> 32) ^ c.word[1] ^ key0, static_cast<uint32_t>(p1),
          static_cast<uint32_t>(p0 >> 32) ^ c.word[3] ^ key1, static_cast<uint32_t>(p0)}};
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
  return c;
}

// Of x in (0, 1], at least 2^-32.
__device__ __forceinline__ double ExactLog(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  int exponent = static_cast<int>(bits >> 52) - 1022;  // x = m 2^exponent, m in [1/2, 1)
  bits = (bits & 0x000fffffffffffff) | uint64_t{1022} << 52;
  double m;
  memcpy(&m, &bits, sizeof m);
  if (m < 0.70710678118654752) {
    m *= 2;
    --exponent;
  }
  const double s = (m - 1) / (m + 1);
  const double s2 = MultiplyRounded(s, s);
  double series = 0;
#pragma unroll
  for (int k = 23; k >= 1; k -= 2) series = MultiplyRounded(series, s2) + 1.0 / k;
  return MultiplyRounded(2 * s, series) + MultiplyRounded(exponent, 0.69314718055994531);
}

// Taylor's series in [0, pi / 4]: kLast 17 of the sine (without its factor x), 18 of the cosine.
template <int kLast>
__device__ __forceinline__ double TaylorSeries(double x) {
  const double x2 = MultiplyRounded(x, x);
  double term = 1;
#pragma unroll 1
  for (int k = kLast; k >= 2; k -= 2) term = 1 - MultiplyRounded(term, x2) / (k * (k - 1));
  return term;
}

// sin(turn / 2^32 of a full circle).
__device__ __forceinline__ double ExactSin(uint32_t turn) {
  constexpr uint32_t kQuadrant = 1u << 30;
  constexpr double kRadiansPerCount = 1.5707963267948966 / kQuadrant;
  const uint32_t within = turn & (kQuadrant - 1);
  const bool mirrored = within > kQuadrant / 2;
  const double x = MultiplyRounded(mirrored ? kQuadrant - within : within, kRadiansPerCount);
  const bool cosine = ((turn >> 30) % 2 != 0) != mirrored;
  const double value = cosine ? TaylorSeries<18>(x) : MultiplyRounded(x, TaylorSeries<17>(x));
  return turn >> 31 != 0 ? -value : value;
}

// Number `index` of the stream (seed, stream): FillNormal's.
__device__ __forceinline__ float Normal(uint64_t seed, uint32_t stream, uint64_t index) {
  const uint64_t block = index / 4;
  const PhiloxWords r =
      Philox4x32({{static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), stream, 0}},
                 static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
  const bool second_pair = index % 4 >= 2;
  const uint32_t r0 = second_pair ? r.word[2] : r.word[0];
  const uint32_t r1 = second_pair ? r.word[3] : r.word[1];
  const double radius = sqrt(MultiplyRounded(-2, ExactLog((r0 + 1.0) / 4294967296.0)));
  // The first of a pair is the cosine: a sine a quarter of a turn on.
  const uint32_t turn = index % 2 == 0 ? r1 + (1u << 30) : r1;
  return static_cast<float>(MultiplyRounded(radius, ExactSin(turn)));
}

}  // namespace tiltshift::kernels
