#include "gallery/sessions.h"

#include <gmock/gmock.h>

namespace tiltshift::gallery {
namespace {

TEST(Sessions, ATokenIsFoundByItsIdAloneAndForAWhile) {
  ManualClock clock;
  Sessions sessions(clock);
  const std::string one = sessions.Open("ts_one"), two = sessions.Open("ts_two");
  EXPECT_EQ(one.size(), 64u);
  EXPECT_NE(one, two);
  EXPECT_EQ(sessions.TokenOf(one), "ts_one");
  EXPECT_EQ(sessions.TokenOf("ts_one"), std::nullopt);
  EXPECT_EQ(sessions.TokenOf(""), std::nullopt);
  sessions.Close(one);
  EXPECT_EQ(sessions.TokenOf(one), std::nullopt);
  clock.AdvanceMs(Sessions::kIdleMs - 1);
  EXPECT_EQ(sessions.TokenOf(two), "ts_two");
  clock.AdvanceMs(Sessions::kIdleMs + 1);
  EXPECT_EQ(sessions.TokenOf(two), std::nullopt) << "it was idle";
  const std::string three = sessions.Open("ts_three");
  for (int64_t age = 0; age <= Sessions::kLivesMs; age += Sessions::kIdleMs) {
    EXPECT_EQ(sessions.TokenOf(three), "ts_three");
    clock.AdvanceMs(Sessions::kIdleMs);
  }
  EXPECT_EQ(sessions.TokenOf(three), std::nullopt) << "used all the time, but old";
}

TEST(Sessions, AreBounded) {
  ManualClock clock;
  Sessions sessions(clock);
  const std::string first = sessions.Open("ts_first");
  for (size_t i = 0; i < Sessions::kMost; ++i) {
    clock.AdvanceMs(1);
    sessions.Open("ts_more");
  }
  EXPECT_EQ(sessions.TokenOf(first), std::nullopt);
}

TEST(LoginLimits, CountByAddressAndInAll) {
  ManualClock clock;
  LoginLimits limits(clock);
  for (int i = 0; i < LoginLimits::kFromOne; ++i) EXPECT_TRUE(limits.Take("a"));
  EXPECT_FALSE(limits.Take("a"));
  EXPECT_TRUE(limits.Take("b"));
  for (int i = 0; i < LoginLimits::kFromAll; ++i) limits.Take(std::to_string(i));
  EXPECT_FALSE(limits.Take("c"));
  clock.AdvanceMs(60'000);
  EXPECT_TRUE(limits.Take("a"));
}

}  // namespace
}  // namespace tiltshift::gallery
