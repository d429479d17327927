#include "engine/philox.h"

#include <cmath>

namespace tiltshift::engine {
namespace {

constexpr uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;  // golden ratio, sqrt(3) - 1
constexpr double kTwoPow32 = 4294967296.0;

// Natural logarithm of x in (0, 1]: x = m * 2^e with m near 1, log m = 2 atanh((m - 1) / (m + 1)).
// The series stops at s^23 with |s| < 0.172: 4e-19.
double Log(double x) {
  int exponent;
  double m = std::frexp(x, &exponent);
  if (m < 0.70710678118654752) {
    m *= 2;
    --exponent;
  }
  const double s = (m - 1) / (m + 1);
  const double s2 = s * s;
  double series = 0;
  for (int k = 23; k >= 1; k -= 2) series = series * s2 + 1.0 / k;
  return 2 * s * series + exponent * 0.69314718055994531;
}

// Taylor over x in [0, pi/4], to x^17 and x^18: the remainders are below 1e-19.
double SinSeries(double x) {
  const double x2 = x * x;
  double term = 1;
  for (int k = 17; k >= 3; k -= 2) term = 1 - term * x2 / (k * (k - 1));
  return x * term;
}

double CosSeries(double x) {
  const double x2 = x * x;
  double term = 1;
  for (int k = 18; k >= 2; k -= 2) term = 1 - term * x2 / (k * (k - 1));
  return term;
}

struct SinCos {
  double sin, cos;
};

// Of turn / 2^32 of a full circle; the quadrant and its half come from the integer, exactly.
SinCos SinCosOfTurn(uint32_t turn) {
  constexpr uint32_t kQuadrant = 1u << 30;
  constexpr double kRadiansPerCount = 1.5707963267948966 / kQuadrant;
  const uint32_t within = turn & (kQuadrant - 1);
  const bool mirrored = within > kQuadrant / 2;
  const double x = (mirrored ? kQuadrant - within : within) * kRadiansPerCount;
  const double s = mirrored ? CosSeries(x) : SinSeries(x);
  const double c = mirrored ? SinSeries(x) : CosSeries(x);
  switch (turn >> 30) {
    case 0:
      return {s, c};
    case 1:
      return {c, -s};
    case 2:
      return {-s, -c};
    default:
      return {-c, s};
  }
}

// (r0 + 1) / 2^32 is in (0, 1], so the radius is finite: at most sqrt(2 * 32 * ln 2) = 6.66.
void BoxMuller(uint32_t r0, uint32_t r1, float out[2]) {
  const double radius = std::sqrt(-2 * Log((r0 + 1.0) / kTwoPow32));
  const SinCos angle = SinCosOfTurn(r1);
  out[0] = static_cast<float>(radius * angle.cos);
  out[1] = static_cast<float>(radius * angle.sin);
}

}  // namespace

std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> c, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(kMultiplier0) * c[0];
    const uint64_t p1 = static_cast<uint64_t>(kMultiplier1) * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ key[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ key[1], static_cast<uint32_t>(p0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return c;
}

void FillNormal(uint64_t seed, uint32_t stream_step, std::span<float> out, uint64_t offset) {
  const std::array<uint32_t, 2> key = {static_cast<uint32_t>(seed),
                                       static_cast<uint32_t>(seed >> 32)};
  float block[4];
  for (size_t i = 0; i < out.size(); ++i) {
    const uint64_t index = offset + i;
    if (i == 0 || index % 4 == 0) {
      const uint64_t counter = index / 4;
      const auto r = Philox4x32(
          {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), stream_step, 0},
          key);
      BoxMuller(r[0], r[1], block);
      BoxMuller(r[2], r[3], block + 2);
    }
    out[i] = block[index % 4];
  }
}

}  // namespace tiltshift::engine
