// A scheduler whose Redis wants a password.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>

#include "tests/support/folder_test.h"
#include "tests/support/redis_server.h"
#include "tests/support/scheduler_process.h"
#include "tests/support/scrape.h"

namespace tiltshift::tests {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kPatienceMs = 20'000;

class RedisLoginTest : public FolderTest {
 protected:
  void TearDown() override { unsetenv("TILTSHIFT_REDIS_PASSWORD"); }
  const int port_ = FreePort();
  RedisServer redis_{folder_, {"--requirepass", "s3cret", "--port", std::to_string(port_)}};
};

TEST_F(RedisLoginTest, ThePasswordOfTheEnvironmentIsUsedAlsoAfterAReconnect) {
  setenv("TILTSHIFT_REDIS_PASSWORD", "s3cret", 1);
  SchedulerProcess scheduler(folder_, redis_.address());
  const auto says = [&](const std::string& text) {
    return WaitFor([&] { return scheduler.process().Output().find(text) != std::string::npos; },
                   kPatienceMs);
  };
  ASSERT_TRUE(says("leading: epoch")) << scheduler.process().Output();
  redis_.KillMinus9();
  EXPECT_TRUE(says("is redis-server running")) << scheduler.process().Output();
  redis_.Start();
  EXPECT_TRUE(says("Redis is back")) << scheduler.process().Output();
  scheduler.process().Signal(SIGTERM);
  EXPECT_EQ(scheduler.process().Wait(kPatienceMs), 0) << scheduler.process().Output();
  EXPECT_THAT(scheduler.process().Output(), Not(HasSubstr("s3cret")));
}

TEST_F(RedisLoginTest, AWrongOneEndsTheSchedulerWithAReason) {
  setenv("TILTSHIFT_REDIS_PASSWORD", "guessed", 1);
  SchedulerProcess scheduler(folder_, redis_.address());
  EXPECT_EQ(scheduler.process().Wait(kPatienceMs), 1);
  EXPECT_THAT(scheduler.process().Output(), HasSubstr("WRONGPASS"));
  EXPECT_THAT(scheduler.process().Output(), HasSubstr("TILTSHIFT_REDIS_PASSWORD"));
  EXPECT_THAT(scheduler.process().Output(), Not(HasSubstr("guessed")));
}

TEST_F(RedisLoginTest, ToAServerWithoutTlsNothingIsSentAndTheReasonSaid) {
  SchedulerProcess scheduler(folder_, "rediss://:s3cret@127.0.0.1:" + std::to_string(port_));
  EXPECT_TRUE(
      WaitFor([&] { return scheduler.process().Output().find("tls-port") != std::string::npos; },
              kPatienceMs))
      << scheduler.process().Output();
  EXPECT_THAT(scheduler.process().Output(), Not(HasSubstr("s3cret")));
}

}  // namespace
}  // namespace tiltshift::tests
