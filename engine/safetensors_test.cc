#include "engine/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace tiltshift::engine {
namespace {

using ::testing::HasSubstr;

std::string File(const std::string& header, const std::string& data, uint64_t claimed_bytes) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(claimed_bytes >> (8 * i));
  return bytes + header + data;
}

std::string File(const std::string& header, const std::string& data) {
  return File(header, data, header.size());
}

constexpr char kTwo[] =
    R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[3],"data_offsets":[8,14]},)"
    R"("a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}   )";

TEST(Safetensors, GivesViewsIntoTheFile) {
  const std::string file = File(kTwo, "01234567abcdef");
  const auto tensors = ParseSafetensors(file, "f");
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  ASSERT_EQ(tensors->size(), 2u);
  const TensorView& a = tensors->at("a");
  EXPECT_EQ(a.dtype, Dtype::kF32);
  EXPECT_EQ(a.shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(a.bytes, "01234567");
  EXPECT_EQ(a.elements(), 2);
  EXPECT_EQ(tensors->at("b").bytes, "abcdef");
  EXPECT_EQ(tensors->at("b").bytes.data(), file.data() + file.size() - 6);
}

TEST(Safetensors, TakesScalarsAndEmptyTensors) {
  const auto tensors =
      ParseSafetensors(File(R"({"none":{"dtype":"I64","shape":[0,5],"data_offsets":[0,0]},)"
                            R"("one":{"dtype":"BF16","shape":[],"data_offsets":[0,2]}})",
                            "xy"),
                       "f");
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_EQ(tensors->at("one").elements(), 1);
  EXPECT_EQ(tensors->at("none").elements(), 0);
  EXPECT_TRUE(ParseSafetensors(File("{}", ""), "f").ok());
}

TEST(Safetensors, RefusesEveryTruncation) {
  const std::string file = File(kTwo, "01234567abcdef");
  for (size_t size = 0; size < file.size(); ++size) {
    const auto tensors = ParseSafetensors(std::string_view(file).substr(0, size), "f");
    ASSERT_EQ(tensors.status().code(), absl::StatusCode::kDataLoss) << size;
    EXPECT_THAT(std::string(tensors.status().message()), HasSubstr("f: "));
  }
}

struct Lie {
  std::string header, data, reason;
};

TEST(Safetensors, EveryLieHasItsReason) {
  const auto one = [](const std::string& fields) { return "{\"w\":{" + fields + "}}"; };
  const std::string good = R"("dtype":"F32","shape":[1],"data_offsets":[0,4])";
  const Lie lies[] = {
      {" " + one(good), "data", "does not begin with {"},
      {"\xEF\xBB\xBF" + one(good), "data", "does not begin with {"},
      {"[]", "", "does not begin with {"},
      {one(good) + "x", "data", "not valid JSON"},
      {one(good) + one(good), "data", "not valid JSON"},
      {"{\"w\xff\":{" + good + "}}", "data", "not valid JSON"},
      {R"({"w":3})", "", "tensor \"w\": a number where the format has none"},
      {R"({"w":null})", "", "tensor \"w\": null where"},
      {R"({"w":[1]})", "", "tensor \"w\": an array where"},
      {R"({"":{}})", "", "a tensor name of 0 bytes"},
      {"{\"" + std::string(1025, 'n') + "\":{}}", "", "a tensor name of 1025 bytes"},
      {R"({"w":{}})", "", "tensor \"w\": needs dtype, shape and data_offsets"},
      {one(R"("dtype":"F32","shape":[1])"), "data", "needs dtype, shape and data_offsets"},
      {one(good + R"(,"x":1)"), "data", "the key \"x\" is unknown"},
      {one(good + R"(,"dtype":"F32")"), "data", "the key \"dtype\" is unknown or stands twice"},
      {one(R"("dtype":"F33","shape":[1],"data_offsets":[0,4])"), "data", "unknown dtype \"F33\""},
      {one(R"("dtype":32,"shape":[1],"data_offsets":[0,4])"), "data", "a number where"},
      {one(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])"), "data",
       "a negative number where"},
      {one(R"("dtype":"F32","shape":[1.0],"data_offsets":[0,4])"), "data", "no 64-bit integer"},
      {one(R"("dtype":"F32","shape":["1"],"data_offsets":[0,4])"), "data", "a string where"},
      {one(R"("dtype":"F32","shape":[[1]],"data_offsets":[0,4])"), "data", "an array where"},
      {one(R"("dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4])"), "data",
       "a dimension too large"},
      {one(R"("dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4])"), "data",
       "no 64-bit integer"},
      {one(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0])"), "",
       "overflows"},
      {one(R"("dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0])"), "",
       "overflows"},
      {one(R"("dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,4])"),
       "data", "more than 16 dimensions"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[0])"), "data",
       "data_offsets needs two numbers"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[0,4,4])"), "data", "more than two numbers"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])"), "data", "run backwards"},
      {one(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])"), "data",
       "F32 [2] takes 8 bytes, data_offsets give it 4"},
      {one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])"), "data", "its data ends at byte 8"},
      {one(R"("dtype":"F32","shape":[1],)"
           R"("data_offsets":[18446744073709551612,18446744073709551615])"),
       "data", "takes 4 bytes"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[1,5])"), ".data",
       "1 bytes before its data belong to no tensor"},
      {one(good), "data+", "1 bytes after the last tensor"},
      {"{\"w\":{" + good + "},\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
       "datadata", "tensor \"w\" stands twice"},
      {"{\"w\":{" + good + "},\"v\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}}",
       "dataXX", "tensor \"v\": its data overlaps"},
      {R"({"__metadata__":{},"__metadata__":{}})", "", "__metadata__ stands twice"},
      {R"({"__metadata__":{"a":1}})", "", "a number where"},
      {R"({"__metadata__":{"a":{}}})", "", "an object where"},
      {R"({"__metadata__":"a"})", "", "a string where"},
      {"{\"w\":" + std::string(100000, '['), "", "an array where"},
  };
  for (const Lie& lie : lies) {
    const auto tensors = ParseSafetensors(File(lie.header, lie.data), "unet/w.safetensors");
    ASSERT_EQ(tensors.status().code(), absl::StatusCode::kDataLoss) << lie.header.substr(0, 200);
    const std::string message(tensors.status().message());
    EXPECT_THAT(message, HasSubstr(lie.reason));
    EXPECT_THAT(message, HasSubstr("unet/w.safetensors: "));
    EXPECT_LT(message.size(), 500u);
  }
}

TEST(Safetensors, TheHeadersLengthIsCheckedBeforeItIsUsed) {
  for (uint64_t claimed : {uint64_t{3}, uint64_t{100'000'000}, uint64_t{100'000'001},
                           uint64_t{1} << 63, ~uint64_t{0}}) {
    const auto tensors = ParseSafetensors(File("{}", "", claimed), "f");
    ASSERT_EQ(tensors.status().code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(tensors.status().message()),
                HasSubstr(absl::StrCat("a header of ", claimed, " bytes")));
  }
}

TEST(CopyAsFloat, IsExactForEveryHalf) {
  for (uint32_t h = 0; h < 65536; ++h) {
    const uint16_t half = static_cast<uint16_t>(h);
    const TensorView view{Dtype::kF16, {1}, {reinterpret_cast<const char*>(&half), 2}};
    float got;
    ASSERT_TRUE(CopyAsFloat(view, {&got, 1}).ok());
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    const double sign = h & 0x8000 ? -1 : 1;
    if (exponent == 31) {
      EXPECT_EQ(std::isnan(got), fraction != 0);
      EXPECT_EQ(std::isinf(got), fraction == 0);
    } else {
      EXPECT_EQ(got, sign * (exponent == 0 ? std::ldexp(fraction, -24)
                                           : std::ldexp(1024 + fraction, exponent - 25)));
    }
    EXPECT_EQ(std::signbit(got), sign < 0);
  }
}

TEST(CopyAsFloat, ManyHalvesAreTheSameAsEachAlone) {
  std::vector<uint16_t> halves(65536 + 3);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
  const std::string_view bytes(reinterpret_cast<const char*>(halves.data()), 2 * halves.size());
  std::vector<float> together(halves.size());
  ASSERT_TRUE(CopyAsFloat({Dtype::kF16, {65539}, bytes}, together).ok());
  for (size_t i = 0; i < halves.size(); ++i) {
    float alone;
    ASSERT_TRUE(CopyAsFloat({Dtype::kF16, {1}, bytes.substr(2 * i, 2)}, {&alone, 1}).ok());
    if (std::isnan(alone)) {
      EXPECT_TRUE(std::isnan(together[i]));
    } else {
      EXPECT_EQ(alone, together[i]);
      EXPECT_EQ(std::signbit(alone), std::signbit(together[i]));
    }
  }
}

TEST(CopyAsFloat, ReadsUnalignedBytesOfEveryFloatingType) {
  std::string bytes = "?";
  const auto append = [&](auto value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
  };
  append(-1.5f);
  append(2.25);
  append(static_cast<uint16_t>(0x3fc0));
  const std::string_view at(bytes);
  float got;
  ASSERT_TRUE(CopyAsFloat({Dtype::kF32, {1}, at.substr(1, 4)}, {&got, 1}).ok());
  EXPECT_EQ(got, -1.5f);
  ASSERT_TRUE(CopyAsFloat({Dtype::kF64, {1}, at.substr(5, 8)}, {&got, 1}).ok());
  EXPECT_EQ(got, 2.25f);
  ASSERT_TRUE(CopyAsFloat({Dtype::kBf16, {1}, at.substr(13, 2)}, {&got, 1}).ok());
  EXPECT_EQ(got, 1.5f);
  EXPECT_EQ(CopyAsFloat({Dtype::kI32, {1}, at.substr(1, 4)}, {&got, 1}).code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace tiltshift::engine
