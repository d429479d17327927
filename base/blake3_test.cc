// The authors' test vectors (test_vectors.json: bytes 0 to 250, over and over), and more lengths by
// their own implementation, so that whole and broken nodes meet vectors of sixteen, eight and none.
#include "base/blake3.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tiltshift {
namespace {

struct Case {
  size_t bytes;
  const char* hash;
};
constexpr Case kCases[] = {
    {0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"},
    {1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"},
    {63, "e9bc37a594daad83be9470df7f7b3798297c3d834ce80ba85d6e207627b7db7b"},
    {64, "4eed7141ea4a5cd4b788606bd23f46e212af9cacebacdc7d1f4c6dc7f2511b98"},
    {65, "de1e5fa0be70df6d2be8fffd0e99ceaa8eb6e8c93a63f2d8d1c30ecb6b263dee"},
    {1023, "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11"},
    {1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"},
    {1025, "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444"},
    {2048, "e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a"},
    {3072, "b98cb0ff3623be03326b373de6b9095218513e64f1ee2edd2525c7ad1e5cffd2"},
    {8192, "aae792484c8efe4f19e2ca7d371d8c467ffb10748d8a5a1ae579948f718a2a63"},
    {9216, "e5ef79624045ef3e98fd23342e61d7eb965997b32928f9de591cd0d465a223fb"},
    {16384, "f875d6646de28985646f34ee13be9a576fd515f76b5b0a26bb324735041ddde4"},
    {16385, "1dabe216be2578830263b049de1639f39f05a4da616b9b78c7a5e4e41662fd1f"},
    {17408, "993924ff3dcbd868be9cf3fed98d4538fe579ffccf390a5aa1ddba0f6a20bfed"},
    {31744, "62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32e7abc4fb4c6cdcce94895c47"},
    {1048576, "74cb441fd087764ca9c3694da742ebe30cbeb3060a17009ca81825c7a8d10343"},
    {1048577, "2f053cd7472cf0cd2f9adaf45c1180255b91b9a865404a63671a0ee5f792ed33"},
    {3145733, "a7bb55bed0c04f58879d1fc1cafb27e14e931f4411fe63baf5b2d5a60357bffb"},
};

std::string Bytes(size_t count) {
  std::string bytes(count, '\0');
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<char>(i % 251);
  return bytes;
}

TEST(Blake3, KnownAnswers) {
  for (const Case& known : kCases)
    EXPECT_EQ(Blake3Hex(Bytes(known.bytes)), known.hash) << known.bytes << " bytes";
}

TEST(Blake3, PiecesEqualTheWhole) {
  for (const size_t bytes : {kBlake3Piece + 1, 2 * kBlake3Piece, 3 * kBlake3Piece + 5,
                             5 * kBlake3Piece, 7 * kBlake3Piece + 70'000}) {
    const std::string all = Bytes(bytes);
    std::vector<Blake3Value> pieces;
    for (size_t at = 0; at < bytes; at += kBlake3Piece) {
      pieces.push_back(
          Blake3OfPiece(std::string_view(all).substr(at, kBlake3Piece), at / kBlake3Piece));
    }
    EXPECT_EQ(Blake3Hex(pieces), Blake3Hex(all)) << bytes << " bytes";
  }
}

}  // namespace
}  // namespace tiltshift
