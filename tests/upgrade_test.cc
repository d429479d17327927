// Versions side by side: workers of other protocols, and what a newer scheduler left in Redis.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "proto/protocol.h"
#include "proto/worker.grpc.pb.h"
#include "store/farm_store.h"
#include "tests/support/folder_test.h"
#include "tests/support/redis_server.h"
#include "tests/support/scheduler_process.h"

namespace tiltshift::tests {
namespace {

using ::testing::HasSubstr;

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

}  // namespace
}  // namespace tiltshift::tests
