#include "base/backoff.h"

#include <gtest/gtest.h>

#include <set>

namespace tiltshift {
namespace {

TEST(Backoff, DoublesUpToALimitWithinItsHalf) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Backoff backoff({50, 2'000}, seed);
    for (const int64_t step : {50, 100, 200, 400, 800, 1600, 2000, 2000, 2000}) {
      const int64_t wait = backoff.NextMs();
      EXPECT_GE(wait, step / 2);
      EXPECT_LE(wait, step);
    }
    backoff.Reset();
    EXPECT_LE(backoff.NextMs(), 50);
  }
}

TEST(Backoff, TwoWhoWaitDoNotComeBackTogether) {
  std::set<int64_t> waits;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Backoff backoff({2'000, 2'000}, seed);
    waits.insert(backoff.NextMs());
  }
  EXPECT_GT(waits.size(), 80u);
}

}  // namespace
}  // namespace tiltshift
