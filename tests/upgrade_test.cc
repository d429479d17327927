// Versions side by side: workers of other protocols, and what earlier schedulers left in Redis.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "proto/protocol.h"
#include "proto/worker.grpc.pb.h"
#include "store/farm_store.h"
#include "tests/support/redis_server.h"
#include "tests/support/scheduler_process.h"

namespace tiltshift::tests {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;

constexpr int kPatienceMs = 30'000;

class UpgradeTest : public ::testing::Test {
 protected:
  void TearDown() override {
    if (!HasFailure()) fs::remove_all(folder_);
  }
  std::string Run(const std::vector<std::string>& command) {
    Process process(command, folder_);
    EXPECT_EQ(process.Wait(kPatienceMs), 0) << process.Output() << process.Errors();
    return process.Output();
  }
  std::string Redis(std::vector<std::string> command) {
    command.insert(command.begin(), {"redis-cli", "-s", redis_.address().substr(5)});
    return Run(command);
  }
  // What a worker of these protocols is told.
  struct Greeting {
    v1::Welcome welcome;
    grpc::Status status;
  };
  static Greeting Greet(const std::string& address, uint32_t oldest, uint32_t newest) {
    const auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
    grpc::ClientContext context;
    const auto stub = v1::Workers::NewStub(channel);
    const auto stream = stub->Session(&context);
    v1::WorkerMessage hello;
    hello.mutable_hello()->set_worker_id("w");
    hello.mutable_hello()->set_slots(1);
    hello.mutable_hello()->set_protocol(newest);
    hello.mutable_hello()->set_oldest_protocol(oldest);
    stream->Write(hello);
    v1::SchedulerMessage read;
    Greeting greeting;
    if (stream->Read(&read)) greeting.welcome = read.welcome();
    if (greeting.welcome.epoch() != 0) context.TryCancel();
    greeting.status = stream->Finish();
    return greeting;
  }

  const std::string folder_ = FreshFolder();
  RedisServer redis_{folder_};
};

TEST_F(UpgradeTest, ASessionIsInTheNewestProtocolThatBothSpeak) {
  SchedulerProcess scheduler(folder_, redis_.address());
  ASSERT_TRUE(scheduler.Leads());
  EXPECT_EQ(Greet(scheduler.address(), 0, 1).welcome.protocol(), 1u) << "says no oldest";
  EXPECT_EQ(Greet(scheduler.address(), kOldestProtocol, kProtocol).welcome.protocol(), kProtocol);
  EXPECT_EQ(Greet(scheduler.address(), kProtocol, kProtocol + 1).welcome.protocol(), kProtocol);
  for (const auto& [oldest, newest] : std::vector<std::pair<uint32_t, uint32_t>>{
           {0, 0}, {kProtocol + 1, kProtocol + 2}, {0, kProtocol + 1}, {2, 1}}) {
    const Greeting refused = Greet(scheduler.address(), oldest, newest);
    EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << oldest << newest;
    EXPECT_THAT(refused.status.error_message(), HasSubstr("are none of this scheduler's, 1 to 2"));
  }
}

TEST_F(UpgradeTest, ANewerSchemaIsRefusedAndLeftAlone) {
  Redis({"SET", "ts:schema", std::to_string(store::kNewestSchema + 1)});
  Redis({"SET", "ts:epoch", "5"});
  SchedulerProcess scheduler(folder_, redis_.address());
  EXPECT_EQ(scheduler.process().Wait(kPatienceMs), 1);
  EXPECT_THAT(scheduler.process().Output(),
              HasSubstr("holds a farm of schema 3, and this scheduler knows 1 to 2"));
  EXPECT_THAT(scheduler.process().Output(), HasSubstr("Nothing was changed"));
  EXPECT_EQ(Redis({"GET", "ts:epoch"}), "5\n");
  EXPECT_EQ(Redis({"DBSIZE"}), "2\n");
}

// goldens/redis_schema_1.txt: what a scheduler before the schema had a number left behind, as
// commands: one job done, one begun (30 of 100 committed, one lease out, one variant failed for
// good, one to be tried again), one paused with a changed priority.
TEST_F(UpgradeTest, WhatAnEarlierSchedulerLeftIsTakenUpAndFinished) {
  Run({"sh", "-c",
       "redis-cli -s " + redis_.address().substr(5) +
           " < " TILTSHIFT_SOURCE_DIR "/tests/goldens/redis_schema_1.txt"});
  EXPECT_EQ(Redis({"EXISTS", "ts:schema"}), "0\n");
  SchedulerProcess scheduler(folder_, redis_.address(), {"--lease-ttl-ms", "1000"});
  ASSERT_TRUE(scheduler.Leads()) << scheduler.process().Output();
  EXPECT_EQ(Redis({"GET", "ts:schema"}), std::to_string(store::kNewestSchema) + "\n");
  Process worker({Program("tiltshift-worker"), "--scheduler", scheduler.address(), "--blobs",
                  folder_ + "/blobs", "--render", "noop", "--keep-free", "0"},
                 folder_);
  std::map<std::string, json> jobs;
  const auto look = [&] {
    const json list = json::parse(
        Run({Program("tiltshift"), "list", "--json", "--scheduler", scheduler.address()}));
    for (const json& job : list["jobs"]) jobs[job["spec"]["name"]] = job;
    return jobs["begun"]["state"] == "JOB_STATE_FAILED";
  };
  ASSERT_TRUE(WaitFor(look, kPatienceMs)) << json(jobs);
  EXPECT_EQ(jobs.size(), 3u);
  EXPECT_EQ(jobs["done"]["state"], "JOB_STATE_DONE");
  EXPECT_EQ(jobs["done"]["committed"], "4");
  EXPECT_EQ(jobs["begun"]["committed"], "99");
  EXPECT_EQ(jobs["begun"]["failed"], "1");
  EXPECT_EQ(jobs["paused"]["state"], "JOB_STATE_PAUSED");
  EXPECT_EQ(jobs["paused"]["priority"], 50);
}

// How that file was made, by a scheduler of before: TILTSHIFT_RECORDED=ITS/tiltshift-scheduler
// upgrade_test --gtest_also_run_disabled_tests --gtest_filter='*Record' prints it.
class Recorder : public UpgradeTest {
 protected:
  using Stream = grpc::ClientReaderWriter<v1::WorkerMessage, v1::SchedulerMessage>;
  std::string Submit(const std::string& name, int variants) {
    std::ofstream(folder_ + "/spec.yaml") << "name: " << name << "\nmodel: any\nprompt: \"{n}\"\n"
                                          << "axes: {n: {range: 1-" << variants << "}}\n";
    return json::parse(Run({Program("tiltshift"), "submit", folder_ + "/spec.yaml", "--json",
                            "--scheduler", address_}))["job_id"];
  }
  // Commits what it may, and fails two: one for good.
  void Render(const std::string& done) {
    const auto channel = grpc::CreateChannel(address_, grpc::InsecureChannelCredentials());
    grpc::ClientContext context;
    const auto stub = v1::Workers::NewStub(channel);
    const auto stream = stub->Session(&context);
    v1::WorkerMessage message;
    message.mutable_hello()->set_worker_id("earlier");
    message.mutable_hello()->set_slots(40);
    message.mutable_hello()->set_protocol(1);
    stream->Write(message);
    v1::SchedulerMessage read;
    std::map<uint64_t, int> failed;
    for (uint64_t turn = 1; failed[30] < 3 || failed[31] < 1;) {
      message.mutable_turn()->set_turn(turn++);
      message.mutable_turn()->set_want_leases(100);
      stream->Write(message);
      message.mutable_turn()->clear_outcomes();
      do {
        if (!stream->Read(&read)) return;
        auto leases = read.turn_ack().leases();
        if (read.has_lease()) *leases.Add() = read.lease();
        for (const v1::Lease& lease : leases)
          Take(lease, lease.job_id() == done, failed, *message.mutable_turn()->add_outcomes());
      } while (!read.has_turn_ack());
    }
    context.TryCancel();
    stream->Finish();
  }
  static void Take(const v1::Lease& lease, bool all, std::map<uint64_t, int>& failed,
                   v1::Outcome& outcome) {
    outcome.set_token(lease.token());
    outcome.set_job_id(lease.job_id());
    for (uint64_t i = 0; i < lease.range().count(); ++i) {
      const uint64_t index = lease.range().first() + i;
      if (all || index < 30) {
        v1::VariantRange& range = *outcome.add_committed();
        range.set_first(index);
        range.set_count(1);
      } else if (index == 30 || (index == 31 && failed[31] == 0)) {
        ++failed[index];
        outcome.add_failed()->set_index(index);
        outcome.mutable_failed()->rbegin()->set_reason("it would not");
      }
    }
  }
  static std::string Quoted(const std::string& text) {
    std::string out = "\"";
    for (const unsigned char c : text) {
      const bool plain = c > 0x20 && c < 0x7f && c != '"' && c != '\\';
      out += plain ? std::string(1, static_cast<char>(c)) : absl::StrFormat("\\x%02x", c);
    }
    return out + "\"";
  }
  void Print() {
    store::RedisClient client(*store::ParseRedisAddress(redis_.address()));
    for (const auto& key : client.Run({"KEYS", "ts:*"})->items) {
      if (key.text == "ts:leader") continue;
      const std::string type = client.Run({"TYPE", key.text})->text;
      const std::string name = Quoted(key.text);
      if (type == "string")
        std::printf("SET %s %s\n", name.c_str(),
                    Quoted(client.Run({"GET", key.text})->text).c_str());
      const auto pairs = type == "hash" ? client.Run({"HGETALL", key.text})
                         : type == "zset"
                             ? client.Run({"ZRANGE", key.text, "0", "-1", "WITHSCORES"})
                             : store::RedisReply();
      for (size_t i = 0; i + 1 < pairs->items.size(); i += 2) {
        const std::string a = Quoted(pairs->items[i].text), b = Quoted(pairs->items[i + 1].text);
        std::printf(type == "hash" ? "HSET %s %s %s\n" : "ZADD %s %s %s\n", name.c_str(),
                    (type == "hash" ? a : b).c_str(), (type == "hash" ? b : a).c_str());
      }
    }
  }
  std::string address_ = "unix:" + folder_ + "/socket";
};

TEST_F(Recorder, DISABLED_Record) {
  const char* program = std::getenv("TILTSHIFT_RECORDED");
  ASSERT_NE(program, nullptr);
  Process scheduler({program, "--listen", address_, "--redis", redis_.address(), "--blobs",
                     folder_ + "/blobs", "--lease-ttl-ms", "600000"},
                    folder_);
  ASSERT_TRUE(
      WaitFor([&] { return scheduler.Output().find("leading") != std::string::npos; }, kPatienceMs))
      << scheduler.Output();
  const std::string paused = Submit("paused", 10);
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"pause", paused}, {"priority", paused, "--to", "50"}}) {
    std::vector<std::string> all = {Program("tiltshift")};
    all.insert(all.end(), command.begin(), command.end());
    all.insert(all.end(), {"--scheduler", address_});
    Run(all);
  }
  const std::string done = Submit("done", 4);
  Submit("begun", 100);
  Render(done);
  scheduler.Signal(SIGKILL);
  scheduler.Wait(kPatienceMs);
  Print();
}

}  // namespace
}  // namespace tiltshift::tests
