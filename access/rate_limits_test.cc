#include "access/rate_limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tiltshift::access {
namespace {

using ::testing::HasSubstr;

int Passed(RateLimits& limits, const std::string& tenant, bool submits, int64_t now_ms, int calls) {
  int passed = 0;
  for (int i = 0; i < calls; ++i)
    passed += limits.TakeCall(tenant, {.submits = submits}, now_ms).ok();
  return passed;
}

TEST(RateLimits, ABurstPassesAndThenSoManyASecond) {
  RateLimits limits({{"brand", {.calls = 5}}});
  EXPECT_EQ(Passed(limits, "brand", false, 1'000, 1'000), 50);
  EXPECT_EQ(Passed(limits, "brand", false, 2'000, 1'000), 5);
  EXPECT_EQ(Passed(limits, "brand", false, 2'100, 1'000), 0);
  EXPECT_EQ(Passed(limits, "brand", false, 2'200, 1'000), 1);
  EXPECT_EQ(Passed(limits, "brand", false, 1'000'000, 1'000), 50)
      << "no more than a burst is saved";
  EXPECT_EQ(Passed(limits, "brand", false, 900'000, 1'000), 0) << "a clock that was set back";
}

TEST(RateLimits, OneTenantsFloodIsNotAnothers) {
  RateLimits limits({{"brand", {.calls = 5}}, {"*", {.calls = 1}}});
  EXPECT_EQ(Passed(limits, "a", false, 1'000, 100), 10);
  EXPECT_EQ(Passed(limits, "b", false, 1'000, 100), 10);
  EXPECT_EQ(Passed(limits, "brand", false, 1'000, 100), 50);
  RateLimits none({});
  EXPECT_EQ(Passed(none, "a", true, 1'000, 100), 100);
}

TEST(RateLimits, SubmissionsHaveTheirOwnAndSayWhenToComeBack) {
  RateLimits limits({{"*", {.submissions = 0.5}}});
  EXPECT_EQ(Passed(limits, "a", true, 1'000, 100), 5);
  EXPECT_EQ(Passed(limits, "a", false, 1'000, 100), 100);
  const absl::Status status = limits.TakeCall("a", {.submits = true}, 1'000);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Message(status),
            "tenant a asks for more than 0.5 submissions a second; try again in 2.0 s");
  EXPECT_EQ(RetryInMs(status), 2'000);
  EXPECT_FALSE(limits.TakeCall("a", {.submits = true}, 2'999).ok());
  EXPECT_TRUE(limits.TakeCall("a", {.submits = true}, 3'000).ok());
  EXPECT_EQ(RetryInMs(absl::OkStatus()), 0);
}

// A message that has come is counted whole, whatever is left: the next one waits for it.
TEST(RateLimits, BytesAreADebt) {
  RateLimits limits({{"*", {.uploaded_bytes = 1e6}}});
  ASSERT_TRUE(limits.TakeCall("a", {.uploads = true}, 1'000).ok());
  limits.TakeBytes("a", 14'000'000, 1'000);
  const absl::Status status = limits.TakeCall("a", {.uploads = true}, 1'000);
  EXPECT_THAT(Message(status), HasSubstr("1 MB of uploads a second; try again in 4.0 s"));
  EXPECT_TRUE(limits.TakeCall("a", {.submits = true}, 1'000).ok());
  EXPECT_TRUE(limits.TakeCall("a", {.uploads = true}, 5'000).ok());
}

}  // namespace
}  // namespace tiltshift::access
