#include "plan/range.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

namespace tiltshift::plan {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<int64_t> All(const std::string& text) {
  const auto range = IntRange::Parse(text);
  EXPECT_TRUE(range.ok()) << range.status();
  std::vector<int64_t> values;
  for (uint64_t i = 0; range.ok() && i < range->count(); ++i) values.push_back(range->At(i));
  return values;
}

std::string Error(const std::string& text) {
  return std::string(IntRange::Parse(text).status().message());
}

TEST(IntRange, Forms) {
  EXPECT_THAT(All("7"), ElementsAre(7));
  EXPECT_THAT(All("1-4"), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(All("1-10:2,20"), ElementsAre(1, 3, 5, 7, 9, 20));
  EXPECT_THAT(All("10-1:-3"), ElementsAre(10, 7, 4, 1));
  EXPECT_THAT(All(" -5 - -1 : 2 , 3"), ElementsAre(-5, -3, -1, 3));
}

TEST(IntRange, IsNeverExpanded) {
  const auto range = IntRange::Parse("0-1000000000000000");
  ASSERT_TRUE(range.ok());
  EXPECT_EQ(range->count(), 1000000000000001u);
  EXPECT_EQ(range->At(999999999999999), 999999999999999);
  EXPECT_EQ(*range->IndexOf(123456789012345), 123456789012345u);
}

TEST(IntRange, ErrorsNameTheColumn) {
  EXPECT_EQ(
      Error("1-"),
      "range \"1-\", column 3: expected a whole number (a range looks like 1-10 or 1-10:2,20)");
  EXPECT_THAT(Error("5-1"), HasSubstr("from 5 to 1 goes against the step of 1"));
  EXPECT_THAT(Error("1-5:0"), HasSubstr("a step of 0 never ends"));
  EXPECT_THAT(Error("1-5,3"), HasSubstr("a value appears twice"));
  EXPECT_THAT(Error("1 2"), HasSubstr("expected ',' or the end"));
  EXPECT_THAT(Error("99999999999999999999"), HasSubstr("too large"));
  EXPECT_THAT(Error(""), HasSubstr("expected a whole number"));
}

// Overlap is decided by arithmetic; here against sets, for random pairs of intervals.
TEST(IntRange, OverlapAgreesWithSets) {
  std::mt19937 random(5);
  auto pick = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  int overlaps = 0;
  for (int trial = 0; trial < 20000; ++trial) {
    std::set<int64_t> seen;
    bool twice = false;
    std::string text;
    for (int part = 0; part < 2; ++part) {
      const int step = pick(1, 9) * (pick(0, 1) ? 1 : -1);
      const int first = pick(-30, 30),
                last = first + step * pick(0, 6) + (step > 0 ? 1 : -1) * pick(0, 2);
      for (int v = first; step > 0 ? v <= last : v >= last; v += step)
        twice |= !seen.insert(v).second;
      text += (part ? "," : "") + std::to_string(first) + "-" + std::to_string(last) + ":" +
              std::to_string(step);
    }
    overlaps += twice;
    ASSERT_EQ(IntRange::Parse(text).ok(), !twice) << text;
  }
  EXPECT_GT(overlaps, 2000);
}

}  // namespace
}  // namespace tiltshift::plan
