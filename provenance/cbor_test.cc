#include "provenance/cbor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/escaping.h"

namespace tiltshift::provenance {
namespace {

using ::testing::HasSubstr;

std::string Hex(const Cbor& item) { return std::string(absl::BytesToHexString(Encode(item))); }
absl::StatusOr<Cbor> FromHex(const char* hex) {
  return Decode(std::string(absl::HexStringToBytes(hex)));
}

// RFC 8949, appendix A.
TEST(Cbor, IsWrittenAsTheStandardsExamples) {
  EXPECT_EQ(Hex(Cbor::Unsigned(0)), "00");
  EXPECT_EQ(Hex(Cbor::Unsigned(23)), "17");
  EXPECT_EQ(Hex(Cbor::Unsigned(24)), "1818");
  EXPECT_EQ(Hex(Cbor::Unsigned(1000)), "1903e8");
  EXPECT_EQ(Hex(Cbor::Unsigned(1000000)), "1a000f4240");
  EXPECT_EQ(Hex(Cbor::Unsigned(1000000000000)), "1b000000e8d4a51000");
  EXPECT_EQ(Hex(Cbor::Negative(-1)), "20");
  EXPECT_EQ(Hex(Cbor::Negative(-1000)), "3903e7");
  EXPECT_EQ(Hex(Cbor::Null()), "f6");
  EXPECT_EQ(Hex(Cbor::Bytes("\x01\x02\x03\x04")), "4401020304");
  EXPECT_EQ(Hex(Cbor::Text("IETF")), "6449455446");
  EXPECT_EQ(Hex(Cbor::Array({Cbor::Unsigned(1), Cbor::Array({Cbor::Unsigned(2)})})), "82018102");
  EXPECT_EQ(Hex(Cbor::Map({Cbor::Text("a"), Cbor::Unsigned(1)})), "a1616101");
  EXPECT_EQ(Hex(Cbor::Tag(1, Cbor::Unsigned(1363896240))), "c11a514b67b0");
  Cbor wide = Cbor::Unsigned(7);
  wide.four_bytes = true;
  EXPECT_EQ(Hex(wide), "1a00000007");
}

TEST(Cbor, IsReadBackAndFound) {
  const auto map = FromHex("a3616101012003426869");  // {"a": 1, 1: -1, 3: 'hi'}
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_EQ(map->Find("a")->number, 1u);
  EXPECT_TRUE(map->Find(int64_t{1})->is(Cbor::Kind::kNegative));
  EXPECT_EQ(map->Find(int64_t{3})->text, "hi");
  EXPECT_EQ(map->Find("b"), nullptr);
  EXPECT_EQ(map->TextAt("a"), "");
  EXPECT_TRUE(map->ArrayAt("a").empty());
  EXPECT_EQ(Hex(*map), "a3616101012003426869");
  EXPECT_TRUE(FromHex("f6")->is_null());
}

TEST(Cbor, HostileBytesAreErrors) {
  for (const char* hex :
       {"", "18", "1903", "62", "4401", "82", "8201", "a1", "a101", "c1", "1c", "9f00ff", "0000",
        "9b7fffffffffffffff", "bb8000000000000000", "5bffffffffffffffff"})
    EXPECT_EQ(FromHex(hex).status().code(), absl::StatusCode::kInvalidArgument) << hex;
  EXPECT_THAT(Message(Decode(std::string(100, '\x81')).status()), HasSubstr("deeper"));
  EXPECT_THAT(
      Message(Decode(std::string("\x9a\0\0\x7f\xff", 5) + std::string(0x7fff, '\0')).status()),
      HasSubstr("items"));
  EXPECT_THAT(Message(FromHex("a2616101616102").status()), HasSubstr("twice"));
}

}  // namespace
}  // namespace tiltshift::provenance
