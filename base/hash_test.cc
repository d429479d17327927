#include "base/hash.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace tiltshift {
namespace {

// FIPS 180-2, appendix B.1.
TEST(Sha256, KnownAnswer) {
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256, PiecesEqualTheWhole) {
  Sha256 sha;
  sha.Update("a");
  sha.Update("");
  sha.Update("bc");
  EXPECT_EQ(sha.Hex(), Sha256Hex("abc"));
}

// FIPS 180-2, appendix B.3: a million times "a", in pieces that begin and end anywhere in a block.
TEST(Sha256, AMillionInPieces) {
  const std::string all(1'000'000, 'a');
  const std::string expected = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
  EXPECT_EQ(Sha256Hex(all), expected);
  for (const size_t piece : {1, 63, 64, 65, 127, 1000, 4096}) {
    Sha256 sha;
    for (size_t at = 0; at < all.size(); at += piece)
      sha.Update(std::string_view(all).substr(at, piece));
    EXPECT_EQ(sha.Hex(), expected) << "pieces of " << piece;
  }
}

}  // namespace
}  // namespace tiltshift
