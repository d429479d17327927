// The client against a real redis-server: that is away, that comes back, that wants to know who we
// are.
#include "store/redis_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "store/farm_store.h"
#include "tests/support/redis_server.h"
#include "tests/support/scrape.h"

namespace tiltshift::store {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

RedisAddress Parsed(const std::string& text) {
  const auto address = ParseRedisAddress(text);
  EXPECT_TRUE(address.ok()) << text << ": " << address.status();
  return address.ok() ? *address : RedisAddress();
}

std::string Refusal(const std::string& text) {
  const auto address = ParseRedisAddress(text);
  EXPECT_EQ(address.status().code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(address.status().message());
}

TEST(RedisAddress, EveryForm) {
  EXPECT_EQ(Parsed("unix:/run/redis").unix_path, "/run/redis");
  EXPECT_EQ(Parsed("farm").port, 6379);
  EXPECT_EQ(Parsed("farm:7000").port, 7000);
  EXPECT_EQ(Parsed("[::1]:7000").host, "::1");
  const RedisAddress full = Parsed("redis://me:p%40ss%3a@farm:7000/3");
  EXPECT_EQ(full.user, "me");
  EXPECT_EQ(full.password, "p@ss:");
  EXPECT_EQ(full.host, "farm");
  EXPECT_EQ(full.port, 7000);
  EXPECT_EQ(full.database, 3);
  EXPECT_EQ(full.Shown(), "farm:7000/3");
  const RedisAddress least = Parsed("redis://:secret@farm");
  EXPECT_EQ(least.user, "");
  EXPECT_EQ(least.password, "secret");
  EXPECT_EQ(least.database, 0);
  EXPECT_EQ(Parsed("redis://[::1]/").Shown(), "[::1]:6379");
  EXPECT_FALSE(full.tls);
  EXPECT_TRUE(Parsed("rediss://:secret@farm").tls);
  EXPECT_EQ(Parsed("rediss://farm").port, 6379);
  const RedisAddress master = Parsed("sentinel://:secret@a,[::1]:7000,c:7001/mymaster/2");
  EXPECT_EQ(master.Shown(), "sentinel://a:26379,[::1]:7000,c:7001/mymaster");
  EXPECT_EQ(master.master, "mymaster");
  EXPECT_EQ(master.password, "secret");
  EXPECT_EQ(master.database, 2);
}

TEST(RedisAddress, WhatIsNone) {
  EXPECT_THAT(Refusal(""), HasSubstr("it names no host"));
  EXPECT_THAT(Refusal("unix:"), HasSubstr("names no path"));
  EXPECT_THAT(Refusal("farm:port"), HasSubstr("\"port\" is no port"));
  EXPECT_THAT(Refusal("farm:70000"), HasSubstr("is no port"));
  EXPECT_THAT(Refusal("::1:6379"), HasSubstr("stands in []"));
  EXPECT_THAT(Refusal("[::1"), HasSubstr("without its ']'"));
  EXPECT_THAT(Refusal("redis://farm/x"), HasSubstr("\"x\" is no database's number"));
  EXPECT_THAT(Refusal("redis://farm/-1"), HasSubstr("is no database's number"));
  EXPECT_THAT(Refusal("http://farm"), HasSubstr("only redis://, rediss:// and sentinel://"));
  EXPECT_THAT(Refusal("sentinel://a,b"), HasSubstr("the master's name"));
  EXPECT_THAT(Refusal("sentinel://a,,b/m"), HasSubstr("it names no host"));
  EXPECT_THAT(Refusal("sentinel:///m"), HasSubstr("it names no host"));
  EXPECT_THAT(Refusal("redis://me@farm"), HasSubstr("before '@' stand USER:PASSWORD"));
  EXPECT_THAT(Refusal("redis://me:@farm"), HasSubstr("the password is empty"));
  for (const char* text : {"redis://me:sec%ret@farm", "redis://me:secret@", "rediss://:secret@x:0",
                           "redis://me:secret@farm:x"})
    EXPECT_THAT(Refusal(text), Not(HasSubstr("ret@"))) << "shows the password";
}

TEST(RedisAddress, ThePasswordMayComeFromTheEnvironment) {
  setenv("TILTSHIFT_REDIS_USER", "me", 1);
  setenv("TILTSHIFT_REDIS_PASSWORD", "secret", 1);
  const RedisAddress from_environment = WithCredentialsOfEnvironment(Parsed("farm"));
  EXPECT_EQ(from_environment.user, "me");
  EXPECT_EQ(from_environment.password, "secret");
  const RedisAddress from_address = WithCredentialsOfEnvironment(Parsed("redis://:other@farm"));
  EXPECT_EQ(from_address.user, "");
  EXPECT_EQ(from_address.password, "other");
  unsetenv("TILTSHIFT_REDIS_USER");
  unsetenv("TILTSHIFT_REDIS_PASSWORD");
  EXPECT_EQ(WithCredentialsOfEnvironment(Parsed("farm")).password, "");
}

TEST(RedisClient, WaitsLongerAfterEveryFailureAndNotAtAllAfterASuccess) {
  ManualClock clock;
  RedisClient client(Parsed("unix:/nonexistent/redis"), {.clock = clock, .seed = 1});
  for (const int64_t step : {50, 100, 200, 400, 800, 1600, 2000, 2000}) {
    const absl::Status failed = client.Run({"PING"}).status();
    EXPECT_EQ(failed.code(), absl::StatusCode::kUnavailable);
    EXPECT_GE(client.RetryInMs(), step / 2);
    EXPECT_LE(client.RetryInMs(), step);
    const int64_t wait = client.RetryInMs();
    EXPECT_EQ(client.Run({"PING"}).status(), failed);  // at once: it has not tried
    EXPECT_EQ(client.RetryInMs(), wait);
    clock.AdvanceMs(wait);
  }
}

TEST(RedisClient, FindsAServerThatComesBack) {
  ManualClock clock;
  tests::RedisServer redis(tests::FreshFolder());
  RedisClient client(Parsed(redis.address()), {.clock = clock, .seed = 1});
  ASSERT_TRUE(client.Run({"PING"}).ok());
  redis.KillMinus9();
  EXPECT_TRUE(absl::IsUnavailable(client.Run({"PING"}).status()));  // the connection broke
  EXPECT_TRUE(absl::IsUnavailable(client.Run({"PING"}).status()));  // and there is no new one
  EXPECT_GT(client.RetryInMs(), 0);
  redis.Start();
  EXPECT_TRUE(absl::IsUnavailable(client.Run({"PING"}).status()));  // not yet
  clock.AdvanceMs(client.RetryInMs());
  EXPECT_TRUE(client.Run({"PING"}).ok());
  EXPECT_EQ(client.connections(), 2u);
  EXPECT_EQ(client.RetryInMs(), 0);
}

class RedisLogin : public ::testing::Test {
 protected:
  absl::Status Ping(const std::string& user) {
    RedisClient client(Parsed("redis://" + user + "127.0.0.1:" + std::to_string(port_)));
    return client.Run({"PING"}).status();
  }
  const int port_ = tests::FreePort();
};

TEST_F(RedisLogin, WithAPassword) {
  tests::RedisServer redis(tests::FreshFolder(),
                           {"--port", std::to_string(port_), "--requirepass", "s3cret/:"});
  EXPECT_TRUE(Ping(":s3cret%2F%3A@").ok()) << Ping(":s3cret%2F%3A@");
  EXPECT_TRUE(Ping("default:s3cret%2F%3A@").ok());
  const absl::Status wrong = Ping(":s3creT@");
  EXPECT_EQ(wrong.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(wrong.message()), HasSubstr("WRONGPASS"));
  EXPECT_THAT(std::string(wrong.message()), Not(HasSubstr("s3creT")));
  const absl::Status none = Ping("");
  EXPECT_EQ(none.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(none.message()), HasSubstr("NOAUTH"));
  EXPECT_THAT(std::string(none.message()), HasSubstr("TILTSHIFT_REDIS_PASSWORD"));
}

// docs/redis.md names these rights as enough.
TEST_F(RedisLogin, AsAUserWithNoMoreRightsThanNeeded) {
  const bool functions = tests::RedisServer::HasFunctions();
  tests::RedisServer redis(
      tests::FreshFolder(),
      {"--port", std::to_string(port_), "--requirepass", "other", "--user", "farm", "on", ">secret",
       "~ts:*", "+@read", "+@write", "-@dangerous", functions ? "+fcall" : "+evalsha",
       functions ? "+function|load" : "+script|load", "+info", "+select", "+ping"});
  EXPECT_TRUE(Ping("farm:secret@").ok()) << Ping("farm:secret@");
  FarmStore store(Parsed("redis://farm:secret@127.0.0.1:" + std::to_string(port_) + "/2"));
  ASSERT_TRUE(store.Prepare().ok()) << store.Prepare();
  const auto epoch = store.Lead("me", 60'000, 0);
  ASSERT_TRUE(epoch.ok()) << epoch.status();
  v1::JobSpec spec;
  v1::VariantRange range;
  range.set_count(8);
  const auto written = store.WriteAll(
      {FarmStore::Submit(*epoch, "j", spec, 8, 1, "r"),
       FarmStore::Turns(*epoch, "j", {{}, {{1, "j", 0, 8, 0, "w"}}, {}, 0}, 2),
       FarmStore::Turns(*epoch, "j", {{{1, {range}, {}}}, {}, {}, 0}, 3),
       FarmStore::Turns(*epoch, "", {{}, {}, {1}, 0}, 4), FarmStore::Cancel(*epoch, "j", 4)});
  EXPECT_TRUE(written.ok()) << written.status();
  const auto farm = store.Load();
  ASSERT_TRUE(farm.ok()) << farm.status();
  ASSERT_EQ(farm->jobs.size(), 1u);
  EXPECT_EQ(farm->jobs[0].committed, 8u);
  EXPECT_TRUE(store.RunId().ok());
  EXPECT_TRUE(store.Resign("me", *epoch).ok());
  const absl::Status beyond = store.client().Run({"FLUSHALL"}).status();
  EXPECT_EQ(beyond.code(), absl::StatusCode::kPermissionDenied) << beyond;
  // The database is ours alone.
  RedisClient other(Parsed("redis://:other@127.0.0.1:" + std::to_string(port_)));
  EXPECT_EQ(other.Run({"DBSIZE"})->integer, 0);
}

TEST_F(RedisLogin, ADatabaseThatIsNotThere) {
  tests::RedisServer redis(tests::FreshFolder(), {"--port", std::to_string(port_)});
  RedisClient client(Parsed("redis://127.0.0.1:" + std::to_string(port_) + "/99"));
  const absl::Status refused = client.Run({"PING"}).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("SELECT was refused: "));
}

}  // namespace
}  // namespace tiltshift::store
