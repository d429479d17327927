// Versions side by side: workers of other protocols, and what earlier and newer schedulers left in
// Redis.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "base/file.h"
#include "proto/protocol.h"
#include "proto/worker.grpc.pb.h"
#include "store/farm_store.h"
#include "tests/support/folder_test.h"
#include "tests/support/redis_server.h"
#include "tests/support/scheduler_process.h"
#include "tests/support/worker_process.h"

namespace tiltshift::tests {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kPatienceMs = 30'000;

class UpgradeTest : public FolderTest {
 protected:
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
    hello.mutable_hello()->set_protocol(oldest);
    hello.mutable_hello()->set_newest_protocol(newest);
    stream->Write(hello);
    v1::SchedulerMessage read;
    Greeting greeting;
    if (stream->Read(&read)) greeting.welcome = read.welcome();
    if (greeting.welcome.epoch() != 0) context.TryCancel();
    greeting.status = stream->Finish();
    return greeting;
  }

  RedisServer redis_{folder_};
};

TEST_F(UpgradeTest, ASessionIsInTheNewestProtocolThatBothSpeak) {
  SchedulerProcess scheduler(folder_, redis_.address());
  ASSERT_TRUE(scheduler.Leads());
  EXPECT_EQ(Greet(scheduler.address(), 1, 0).welcome.protocol(), 1u) << "says no newest";
  EXPECT_EQ(Greet(scheduler.address(), kOldestProtocol, kProtocol).welcome.protocol(), kProtocol);
  EXPECT_EQ(Greet(scheduler.address(), kProtocol, kProtocol + 1).welcome.protocol(), kProtocol);
  for (const auto& [oldest, newest] : std::vector<std::pair<uint32_t, uint32_t>>{
           {0, 0}, {kProtocol + 1, kProtocol + 2}, {kProtocol + 1, 0}, {2, 1}}) {
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

// goldens/redis_schema_1.tar.gz: Redis and the blobs of a farm of an earlier build that was killed
// at work; goldens/record_schema_1.sh made it, and says what each of its jobs is.
class KeptStateTest : public UpgradeTest {
 protected:
  void SetUp() override {
    redis_.KillMinus9();
    fs::remove_all(folder_ + "/appendonlydir");  // Redis 7's; it takes up a file beside it as well
    Run({"tar", "-xzf", TILTSHIFT_SOURCE_DIR "/tests/goldens/redis_schema_1.tar.gz", "-C",
         folder_});
    redis_.Start();
    ASSERT_EQ(Redis({"EXISTS", "ts:schema"}), "0\n");
    ASSERT_EQ(Redis({"HLEN", "ts:leases"}), "4\n");
    pictures_ = Pictures();
    ASSERT_EQ(pictures_.size(), 4u + 2 + 38 + 4);
    // Leases of a worker that is no more must end for the test to.
    scheduler_ = std::make_unique<SchedulerProcess>(
        folder_, redis_.address(), std::vector<std::string>{"--lease-ttl-ms", "2000"});
    ASSERT_TRUE(scheduler_->Leads()) << scheduler_->process().Output();
    worker_ = StartWorker(folder_, scheduler_->address(), {"--log", "json"});
  }
  // Path and bytes of each.
  std::map<std::string, std::string> Pictures() const {
    std::map<std::string, std::string> pictures;
    for (const auto& entry : fs::recursive_directory_iterator(folder_ + "/blobs"))
      if (entry.path().extension() == ".png") pictures[entry.path()] = *ReadFile(entry.path());
    return pictures;
  }
  std::string Tiltshift(std::vector<std::string> command) {
    command.insert(command.begin(), Program("tiltshift"));
    command.insert(command.end(), {"--scheduler", scheduler_->address()});
    return Run(command);
  }
  // By name.
  std::map<std::string, json> Jobs() {
    std::map<std::string, json> jobs;
    const json list = json::parse(Tiltshift({"list", "--json"}));
    for (const json& job : list["jobs"]) jobs[job["spec"]["name"]] = job;
    return jobs;
  }
  std::string IdOf(const std::string& name) { return Jobs()[name]["id"]; }
  bool IsDone(const std::string& name) {
    return WaitFor([&] { return Jobs()[name]["state"] == "JOB_STATE_DONE"; }, kPatienceMs);
  }
  // Of a job, what the worker has begun.
  std::set<uint64_t> Begun(const std::string& name) {
    const std::string id = IdOf(name);
    std::set<uint64_t> begun;
    std::istringstream lines(worker_->Output());
    for (std::string line; std::getline(lines, line);) {
      const json event = json::parse(line, nullptr, false);
      if (event.is_object() && event["message"] == "begun" && event["job"] == id)
        begun.insert(event["variant"].get<uint64_t>());
    }
    return begun;
  }

  std::map<std::string, std::string> pictures_;
  std::unique_ptr<SchedulerProcess> scheduler_;
  std::unique_ptr<Process> worker_;
};

// I1 and I2, across a build and a schema: nothing is lost, and nothing is rendered again.
TEST_F(KeptStateTest, WhatAnEarlierFarmLeftIsTakenUpAndFinished) {
  EXPECT_EQ(Redis({"GET", "ts:schema"}), std::to_string(store::kNewestSchema) + "\n");
  for (const char* name : {"begun", "contest", "waiting"})
    EXPECT_TRUE(IsDone(name)) << Jobs()[name] << scheduler_->process().Output();
  auto jobs = Jobs();
  EXPECT_EQ(jobs.size(), 7u);
  EXPECT_EQ(jobs["done"]["state"], "JOB_STATE_DONE");
  EXPECT_EQ(jobs["cancelled"]["state"], "JOB_STATE_CANCELLED");
  EXPECT_EQ(jobs["paused"]["state"], "JOB_STATE_PAUSED");
  EXPECT_EQ(jobs["paused"]["priority"], 50);
  EXPECT_EQ(jobs["wrong"]["state"], "JOB_STATE_FAILED");
  EXPECT_THAT(Tiltshift({"status", jobs["wrong"]["id"], "--json"}),
              HasSubstr("vetoed: it would not"));

  // What people may do with a job of before.
  Tiltshift({"resume", jobs["paused"]["id"]});
  Tiltshift({"retry", jobs["wrong"]["id"]});
  const std::map<std::string, std::string> variants = {{"done", "4"},    {"wrong", "3"},
                                                       {"begun", "40"},  {"contest", "8"},
                                                       {"paused", "10"}, {"waiting", "20"}};
  for (const auto& [name, count] : variants) EXPECT_TRUE(IsDone(name)) << Jobs()[name];
  jobs = Jobs();
  for (const auto& [name, count] : variants) {
    EXPECT_EQ(jobs[name]["committed"], count) << name;
    const std::string bits = "ts:job:" + jobs[name]["id"].get<std::string>() + ":done";
    EXPECT_EQ(Redis({"BITCOUNT", bits}), count + "\n") << name;
  }
  EXPECT_THAT(Begun("done"), IsEmpty());
  EXPECT_THAT(Begun("cancelled"), IsEmpty());
  EXPECT_THAT(Begun("wrong"), ElementsAre(1));
  EXPECT_THAT(Begun("begun"), ElementsAre(6, 20));
  EXPECT_THAT(Begun("contest"), ElementsAre(4, 5, 6, 7)) << "two were leased, two only appended";

  const auto pictures = Pictures();
  EXPECT_EQ(pictures.size(), 4u + 3 + 40 + 8 + 10 + 20);
  for (const auto& [path, bytes] : pictures_) EXPECT_EQ(pictures.at(path), bytes) << path;
  EXPECT_EQ(Redis({"EXISTS", "ts:leases"}), "0\n");
}

}  // namespace
}  // namespace tiltshift::tests
