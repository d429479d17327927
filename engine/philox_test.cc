#include "engine/philox.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

namespace tiltshift::engine {
namespace {

using Block = std::array<uint32_t, 4>;

// Random123's kat_vectors, lines "philox4x32 10".
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}),
            (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(FillNormal, IsBoxMullerOfTheBlocks) {
  const uint64_t seed = 0x0123456789abcdefULL;
  std::vector<float> got(20000);
  FillNormal(seed, 7, got);
  for (size_t i = 0; i < got.size(); i += 2) {
    const Block r = Philox4x32({static_cast<uint32_t>(i / 4), 0, 7, 0}, {0x89abcdef, 0x01234567});
    const size_t half = i % 4;
    const long double radius = std::sqrt(-2 * std::log((r[half] + 1.0L) / 4294967296.0L));
    const long double angle =
        2 * 3.14159265358979323846264338327950288L * r[half + 1] / 4294967296.0L;
    // Double arithmetic within a few ulp, then one rounding to float: half a float's ulp and a
    // little.
    const float bound = 6e-8f;
    EXPECT_NEAR(got[i], radius * std::cos(angle), bound * std::abs(got[i]) + 1e-15);
    EXPECT_NEAR(got[i + 1], radius * std::sin(angle), bound * std::abs(got[i + 1]) + 1e-15);
  }
}

TEST(FillNormal, DoesNotDependOnHowTheRangeIsCut) {
  std::vector<float> whole(1000);
  FillNormal(42, 0, whole);
  for (size_t piece : {1, 2, 3, 5, 64, 999}) {
    std::vector<float> pieces(whole.size());
    for (size_t at = 0; at < pieces.size(); at += piece) {
      const size_t n = std::min(piece, pieces.size() - at);
      FillNormal(42, 0, std::span(pieces).subspan(at, n), at);
    }
    EXPECT_EQ(pieces, whole) << "pieces of " << piece;
  }
}

TEST(FillNormal, PassesTheFirst32BitsOfTheCounter) {
  float far[2], near[1];
  FillNormal(1, 0, far,
             (uint64_t{1} << 34) - 1);  // the last of block 2^32 - 1, the first of block 2^32
  FillNormal(1, 0, near, 0);
  EXPECT_NE(far[1], near[0]);
}

TEST(FillNormal, EverySeedAndStepIsItsOwnStream) {
  std::vector<std::vector<float>> streams;
  for (uint64_t seed : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 32}) {
    for (uint32_t step : {0u, 1u, 0xffffffffu}) {
      streams.emplace_back(64);
      FillNormal(seed, step, streams.back());
    }
  }
  for (size_t a = 0; a < streams.size(); ++a) {
    for (size_t b = a + 1; b < streams.size(); ++b)
      EXPECT_NE(streams[a], streams[b]) << a << " " << b;
  }
}

// With n numbers the sample's moments are off by about sqrt(1/n), sqrt(2/n) and sqrt(96/n): bounds
// of 5 sigma.
TEST(FillNormal, HasTheMomentsOfANormal) {
  const int n = 1 << 20;
  std::vector<float> x(n);
  FillNormal(2026, 0, x);
  double mean = 0, square = 0, fourth = 0;
  for (double v : x) {
    mean += v / n;
    square += v * v / n;
    fourth += v * v * v * v / n;
  }
  EXPECT_NEAR(mean, 0, 5 * std::sqrt(1.0 / n));
  EXPECT_NEAR(square, 1, 5 * std::sqrt(2.0 / n));
  EXPECT_NEAR(fourth, 3, 5 * std::sqrt(96.0 / n));
}

// Pinned, so that a compiler or a machine that changes the noise is noticed before it changes a
// picture.
TEST(FillNormal, BitsAreTheSameEverywhere) {
  std::vector<float> x(4096);
  FillNormal(0, 0, x);
  uint64_t fnv = 0xcbf29ce484222325;
  for (float v : x) fnv = (fnv ^ std::bit_cast<uint32_t>(v)) * 0x100000001b3;
  EXPECT_EQ(fnv, 1664528541952974703u);
}

}  // namespace
}  // namespace tiltshift::engine
