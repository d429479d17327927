#include "store/bit_pieces.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace tiltshift::store {
namespace {

v1::VariantRange Range(uint64_t first, uint64_t count) {
  v1::VariantRange range;
  range.set_first(first);
  range.set_count(count);
  return range;
}

// The bits of pieces; each piece must lie behind the one before, and say what it holds.
std::vector<bool> BitsOf(const std::vector<BitPiece>& pieces, uint64_t bits) {
  std::vector<bool> set(bits);
  for (const BitPiece& piece : pieces) {
    EXPECT_LE(piece.from, piece.to);
    EXPECT_TRUE(piece.mask.empty() || piece.mask.size() == piece.to - piece.from + 1);
    EXPECT_LE(piece.mask.size(), 2'048u);
    for (uint64_t i = 8 * piece.from; i < 8 * (piece.to + 1); ++i) {
      const bool bit = piece.mask.empty() ||
                       (static_cast<uint8_t>(piece.mask[i / 8 - piece.from]) & 128 >> i % 8) != 0;
      if (!bit) continue;
      EXPECT_FALSE(set.at(i)) << i;
      set.at(i) = true;
    }
  }
  return set;
}

TEST(BitPieces, ShortAndScatteredOnesAreAMask) {
  const auto pieces = BitPieces({Range(17, 1), Range(3, 1), Range(4, 2)});
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_EQ(pieces[0].from, 0u);
  EXPECT_EQ(pieces[0].mask, std::string("\x1c\x00\x40", 3));
  EXPECT_THAT(BitPieces({Range(5, 0)}), ::testing::IsEmpty());
}

TEST(BitPieces, LongOnesAreBytesWithMasksAroundThem) {
  const auto pieces = BitPieces({Range(3, 10'000'000)});
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[0].mask, "\x1f");
  EXPECT_EQ(pieces[1].mask, "");
  EXPECT_EQ(pieces[1].to, 1'249'999u);
  EXPECT_EQ(pieces[2].mask, "\xe0");
}

TEST(BitPieces, AnyRanges) {
  constexpr uint64_t kBits = 200'000;
  std::mt19937_64 random(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<bool> expected(kBits);
    std::vector<v1::VariantRange> ranges;
    for (uint64_t i = random() % 50; i-- > 0;) {
      const uint64_t longest = random() % 8 == 0 ? 50'000 : random() % 2 == 0 ? 100 : 1;
      const uint64_t first = random() % (kBits - longest), count = 1 + random() % longest;
      ranges.push_back(Range(first, count));
      for (uint64_t v = first; v < first + count; ++v) expected[v] = true;
    }
    ASSERT_EQ(BitsOf(BitPieces(ranges), kBits), expected) << "round " << round;
  }
}

}  // namespace
}  // namespace tiltshift::store
