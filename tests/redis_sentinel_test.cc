// A farm whose Redis fails over: a master, a replica and a sentinel as real processes. The master
// is killed; the schedulers find the next one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "store/redis_client.h"
#include "tests/support/folder_test.h"
#include "tests/support/scheduler_process.h"
#include "tests/support/scrape.h"
#include "tests/support/worker_process.h"

namespace tiltshift::tests {
namespace {

using ::testing::HasSubstr;
using Clock = std::chrono::steady_clock;

constexpr int kPatienceMs = 30'000;
// Shorter, and a server that a busy machine held up for that long is failed over as well.
constexpr int kDownAfterMs = 2'000;

class RedisSentinelTest : public FolderTest {
 protected:
  void SetUp() override {
    for (int i = 0; i < 2; ++i) {
      std::filesystem::create_directories(folder_ + "/" + std::to_string(i));
      StartRedis(i);
      ASSERT_TRUE(Ask(i, {"PING"}, "PONG"));
    }
    ASSERT_TRUE(Ask(1, {"INFO", "replication"}, "master_link_status:up"));
    ASSERT_TRUE(Ask(0, {"INFO", "replication"}, "state=online"));
    const std::string conf = folder_ + "/sentinel.conf";
    ASSERT_TRUE(WriteFileAtomic(conf,
                                absl::StrCat("port ", sentinel_port_, "\nbind 127.0.0.1\n",
                                             "sentinel monitor farm 127.0.0.1 ", ports_[0], " 1\n",
                                             "sentinel down-after-milliseconds farm ", kDownAfterMs,
                                             "\n", "sentinel failover-timeout farm 5000\n"),
                                IfPresent::kReplace)
                    .ok());
    sentinel_ =
        std::make_unique<Process>(std::vector<std::string>{"redis-sentinel", conf}, folder_);
    store::RedisClient sentinel(Parsed("127.0.0.1:" + std::to_string(sentinel_port_)));
    ASSERT_TRUE(WaitFor(
        [&] {
          const auto replicas = sentinel.Run({"SENTINEL", "replicas", "farm"});
          return replicas.ok() && replicas->items.size() == 1;
        },
        kPatienceMs))
        << sentinel_->Output();
    redis_ = absl::StrCat("sentinel://127.0.0.1:1,127.0.0.1:", sentinel_port_, "/farm");
  }
  void StartRedis(int which) {
    std::vector<std::string> command = {"redis-server",
                                        "--port",
                                        std::to_string(ports_[which]),
                                        "--dir",
                                        folder_ + "/" + std::to_string(which),
                                        "--appendonly",
                                        "yes",
                                        "--save",
                                        "",
                                        "--repl-diskless-sync-delay",
                                        "0"};
    if (which == 1)
      command.insert(command.end(), {"--replicaof", "127.0.0.1", std::to_string(ports_[0])});
    servers_[which] = std::make_unique<Process>(command, folder_);
  }
  static store::RedisAddress Parsed(const std::string& text) {
    return *store::ParseRedisAddress(text);
  }
  // Whether a server's answer comes to hold `text`.
  bool Ask(int which, const store::RedisCommand& command, const std::string& text) {
    store::RedisClient client(Parsed("127.0.0.1:" + std::to_string(ports_[which])));
    return WaitFor(
        [&] {
          const auto reply = client.Run(command);
          return reply.ok() && reply->text.find(text) != std::string::npos;
        },
        kPatienceMs);
  }
  std::string Tiltshift(std::vector<std::string> command) {
    command.insert(command.begin(), Program("tiltshift"));
    command.insert(command.end(), {"--scheduler", scheduler_->address()});
    Process process(command, folder_);
    EXPECT_EQ(process.Wait(4 * kPatienceMs), 0)
        << process.Errors() << scheduler_->process().Output();
    return process.Output();
  }
  std::string Submit(int variants) {
    const std::string spec = folder_ + "/spec.yaml";
    EXPECT_TRUE(WriteFileAtomic(spec,
                                absl::StrCat("name: job\nmodel: diorama\nprompt: number {n}\n",
                                             "axes: {n: {range: 1-", variants, "}}\n"),
                                IfPresent::kReplace)
                    .ok());
    const std::string said = Tiltshift({"submit", spec});
    return said.substr(0, said.find(':'));
  }
  uint64_t Committed(const std::string& job) {
    const auto status = nlohmann::json::parse(Tiltshift({"status", job, "--json"}));
    return std::stoull(status["committed"].get<std::string>());
  }
  bool CommitsMoreThan(const std::string& job, uint64_t than) {
    return WaitFor([&] { return Committed(job) > than; }, kPatienceMs);
  }
  void StartFarm() {
    scheduler_ = std::make_unique<SchedulerProcess>(folder_, redis_);
    ASSERT_TRUE(scheduler_->Leads()) << scheduler_->process().Output();
    worker_ = StartWorker(folder_, scheduler_->address());
  }
  // The replica hears of nothing any more.
  void Detach() {
    store::RedisClient replica(Parsed("127.0.0.1:" + std::to_string(ports_[1])));
    ASSERT_TRUE(replica.Run({"REPLICAOF", "127.0.0.1", "1"}).ok());
  }
  void KillMaster() {
    servers_[0]->Signal(SIGKILL);
    servers_[0]->Wait(kPatienceMs);
  }
  // What the master itself has of a job.
  void ExpectDurable(const std::string& job, int variants) {
    store::RedisClient client(Parsed(redis_));
    EXPECT_EQ(client.Run({"HGET", "ts:job:" + job, "committed"})->text, std::to_string(variants));
    EXPECT_EQ(client.Run({"BITCOUNT", "ts:job:" + job + ":done"})->integer, variants);
  }

  const int ports_[2] = {FreePort(), FreePort()}, sentinel_port_ = FreePort();
  std::unique_ptr<Process> servers_[2], sentinel_, worker_;
  std::unique_ptr<SchedulerProcess> scheduler_;
  std::string redis_;
};

TEST_F(RedisSentinelTest, TheNextMasterIsFound) {
  constexpr int kVariants = 2'000;
  StartFarm();
  const std::string job = Submit(kVariants);
  ASSERT_TRUE(CommitsMoreThan(job, 50)) << worker_->Output();
  ASSERT_TRUE(Ask(1, {"HGET", "ts:job:" + job, "variants"}, std::to_string(kVariants)));
  const auto killed = Clock::now();
  KillMaster();
  ASSERT_TRUE(Ask(1, {"INFO", "replication"}, "role:master")) << sentinel_->Output();
  const uint64_t before = Committed(job);
  ASSERT_TRUE(CommitsMoreThan(job, before)) << scheduler_->process().Output();
  std::printf(
      "fail-over: commits again after %d ms\n",
      static_cast<int>(
          std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - killed).count()));
  // The former master comes back as one, until the sentinel has told it otherwise.
  StartRedis(0);
  EXPECT_TRUE(Ask(0, {"INFO", "replication"}, "role:slave")) << sentinel_->Output();
  Tiltshift({"watch", job});
  ExpectDurable(job, kVariants);
  const std::string said = scheduler_->process().Output();
  EXPECT_THAT(said, HasSubstr("was restarted: 1 jobs"));
}

// I1: what the replica had not heard of is taken up: a job is written again, variants whose commit
// is lost are rendered again, and each is committed once.
TEST_F(RedisSentinelTest, AReplicaThatLacksTheLastSecond) {
  constexpr int kVariants = 2'000;
  StartFarm();
  const std::string job = Submit(kVariants);
  ASSERT_TRUE(CommitsMoreThan(job, 50)) << worker_->Output();
  worker_->Signal(SIGSTOP);  // nothing ends while what follows is made
  EXPECT_TRUE(Ask(1, {"HGET", "ts:job:" + job, "variants"}, std::to_string(kVariants)));
  Detach();
  store::RedisClient replica(Parsed("127.0.0.1:" + std::to_string(ports_[1])));
  const std::string later = Submit(300);
  worker_->Signal(SIGCONT);
  ASSERT_TRUE(CommitsMoreThan(job, Committed(job) + 100)) << worker_->Output();
  EXPECT_EQ(replica.Run({"EXISTS", "ts:job:" + later})->integer, 0);
  EXPECT_LT(replica.Run({"BITCOUNT", "ts:job:" + job + ":done"})->integer,
            static_cast<int64_t>(Committed(job)));
  KillMaster();
  ASSERT_TRUE(Ask(1, {"INFO", "replication"}, "role:master")) << sentinel_->Output();
  Tiltshift({"watch", job});
  Tiltshift({"watch", later});
  ExpectDurable(job, kVariants);
  ExpectDurable(later, 300);
  EXPECT_THAT(scheduler_->process().Output(), HasSubstr("was restarted: 2 jobs"));
}

// I2: what lived in this leadership alone, which the replica has never heard of.
TEST_F(RedisSentinelTest, AReplicaThatLacksTheWholeLeadership) {
  constexpr int kVariants = 2'000;
  StartFarm();
  const std::string job = Submit(kVariants);
  EXPECT_TRUE(Ask(1, {"HGET", "ts:job:" + job, "variants"}, std::to_string(kVariants)));
  worker_->Signal(
      SIGTERM);  // gives its leases back: of one that was killed they would be waited for
  EXPECT_EQ(worker_->Wait(kPatienceMs), 0);
  scheduler_->process().Signal(SIGTERM);
  EXPECT_EQ(scheduler_->process().Wait(kPatienceMs), 0);
  Detach();
  StartFarm();
  const std::string later = Submit(300);
  ASSERT_TRUE(CommitsMoreThan(job, Committed(job) + 100)) << worker_->Output();
  KillMaster();
  ASSERT_TRUE(Ask(1, {"INFO", "replication"}, "role:master")) << sentinel_->Output();
  Tiltshift({"watch", job});
  Tiltshift({"watch", later});
  ExpectDurable(job, kVariants);
  ExpectDurable(later, 300);
  EXPECT_THAT(scheduler_->process().Output(), HasSubstr("leading on in epoch"));
}

}  // namespace
}  // namespace tiltshift::tests
