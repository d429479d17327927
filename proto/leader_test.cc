#include "proto/leader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tiltshift {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(NotLeading, TellsTheLeader) {
  const grpc::Status told = NotLeadingStatus("b leads", "b:7070");
  EXPECT_EQ(told.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(told.error_message(), "b leads");
  EXPECT_EQ(LeaderNamedBy(told), "b:7070");
  EXPECT_EQ(LeaderNamedBy(NotLeadingStatus("nobody leads", "")), "");
  EXPECT_EQ(LeaderNamedBy({grpc::StatusCode::UNAVAILABLE, "connection refused"}), std::nullopt);
  EXPECT_EQ(LeaderNamedBy({grpc::StatusCode::UNAVAILABLE, "odd", "not a message"}), std::nullopt);
}

TEST(LeaderSearch, TriesAllBeforeItWaits) {
  LeaderSearch search({"a", "b", "c"}, 1);
  EXPECT_EQ(search.address(), "a");
  EXPECT_EQ(search.Failed(""), 0);
  EXPECT_EQ(search.address(), "b");
  EXPECT_EQ(search.Failed(""), 0);
  EXPECT_EQ(search.address(), "c");
  EXPECT_GE(search.Failed(""), 50);
  EXPECT_EQ(search.address(), "a");
}

TEST(LeaderSearch, WaitsLongerUntilItFinds) {
  LeaderSearch search({"a"}, 1);
  int64_t longest = 0;
  for (int i = 0; i < 10; ++i) longest = search.Failed("");
  EXPECT_GE(longest, 500);
  EXPECT_LE(longest, 1'000);
  search.Found();
  EXPECT_LE(search.Failed(""), 100);
}

// A standby may name a leader that is gone: it is asked once, and then the others.
TEST(LeaderSearch, FollowsAWordOnceARound) {
  LeaderSearch search({"a", "b"}, 1);
  EXPECT_EQ(search.Failed("elsewhere"), 0);
  EXPECT_EQ(search.address(), "elsewhere");
  EXPECT_EQ(search.Failed(""), 0);
  EXPECT_EQ(search.address(), "b");
  EXPECT_GT(search.Failed("elsewhere"), 0);
  EXPECT_EQ(search.address(), "a");
  EXPECT_EQ(search.Failed("elsewhere"), 0);
  EXPECT_EQ(search.address(), "elsewhere");
}

TEST(LeaderSearch, ANameForItselfIsNoWord) {
  LeaderSearch search({"a", "b"}, 1);
  EXPECT_EQ(search.Failed("a"), 0);
  EXPECT_EQ(search.address(), "b");
}

TEST(SplitAddresses, DropsSpaceAndEmptyParts) {
  EXPECT_THAT(SplitAddresses(" a:1 ,,unix:/b c,"), ElementsAre("a:1", "unix:/b c"));
  EXPECT_THAT(SplitAddresses(" , "), IsEmpty());
}

}  // namespace
}  // namespace tiltshift
