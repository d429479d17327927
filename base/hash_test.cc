#include "base/hash.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

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

// Any number of messages, each of its own length and begun at its own place of a block.
TEST(Sha256, SideBySideEqualsOneByOne) {
  std::string bytes(200'000, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * i % 251);
  const std::string_view all = bytes;
  for (const size_t count : {1, 8, 9, 10, 15, 16, 17, 33}) {
    std::vector<Sha256> hashes(count);
    std::vector<std::string> expected;
    std::vector<std::string_view> first, second;
    for (size_t i = 0; i < count; ++i) {
      const std::string_view message =
          all.substr(i * 777, i % 7 == 6 ? 63 * i : 100'000 + i % 3 * 40);
      const size_t cut = i % 5 == 4 ? 1000 + i : 64 * i;
      first.push_back(message.substr(0, std::min(cut, message.size())));
      second.push_back(message.substr(first.back().size()));
      expected.push_back(Sha256Hex(message));
    }
    Sha256::UpdateEach(hashes, first);
    Sha256::UpdateEach(hashes, second);
    for (size_t i = 0; i < count; ++i)
      EXPECT_EQ(hashes[i].Hex(), expected[i]) << i << " of " << count;
  }
}

}  // namespace
}  // namespace tiltshift
