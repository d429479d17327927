#include "worker/session.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <functional>
#include <thread>

#include "tests/support/process.h"
#include "worker/testing/leases.h"

namespace tiltshift::worker {
namespace {

using ServerStream = grpc::ServerReaderWriter<v1::SchedulerMessage, v1::WorkerMessage>;

v1::SchedulerMessage Welcome(uint32_t lease_ttl_ms) {
  v1::SchedulerMessage message;
  message.mutable_welcome()->set_heartbeat_ms(20);
  message.mutable_welcome()->set_lease_ttl_ms(lease_ttl_ms);
  return message;
}

v1::SchedulerMessage Ack(uint64_t turn) {
  v1::SchedulerMessage message;
  message.mutable_turn_ack()->set_turn(turn);
  return message;
}

// A scheduler whose every session runs `script(number of the session, its hello, stream)`.
class Scripted : public v1::Workers::Service {
 public:
  using Script = std::function<void(int, const v1::Hello&, ServerStream&)>;
  Scripted(const std::string& address, Script script) : script_(std::move(script)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~Scripted() override { server_->Shutdown(std::chrono::system_clock::now()); }

  grpc::Status Session(grpc::ServerContext*, ServerStream* stream) override {
    v1::WorkerMessage first;
    if (stream->Read(&first)) script_(++sessions_, first.hello(), *stream);
    return grpc::Status::OK;
  }
  int sessions() const { return sessions_; }

 private:
  const Script script_;
  std::atomic<int> sessions_{0};
  std::unique_ptr<grpc::Server> server_;
};

class SessionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = tests::FreshFolder();
    options_.schedulers = {"unix:" + folder_ + "/s"};
    options_.hello.set_worker_id("w");
    options_.hello.set_slots(1);
  }
  std::string folder_;
  SessionOptions options_;
  LeaseQueue queue_;
};

void ReadToEnd(ServerStream& stream) {
  for (v1::WorkerMessage message; stream.Read(&message);) {
  }
}

// I2: an outcome whose turn the first stream never acknowledged comes again over the second.
TEST_F(SessionTest, OutcomesAreRepeatedAfterALostStream) {
  std::atomic<uint64_t> held{0}, repeated{0};
  Scripted scheduler(options_.schedulers[0],
                     [&](int number, const v1::Hello& hello, ServerStream& stream) {
                       stream.Write(Welcome(60'000));
                       if (number == 1) {
                         v1::SchedulerMessage lease;
                         *lease.mutable_lease() = TestLease(7, 0, 1);
                         stream.Write(lease);
                       } else if (number == 2 && hello.held_tokens_size() == 1) {
                         held = hello.held_tokens(0);
                       }
                       for (v1::WorkerMessage message; stream.Read(&message);) {
                         if (message.has_turn() && message.turn().outcomes_size() > 0) {
                           if (number == 1)
                             return;  // lost between the turn and its acknowledgement
                           repeated += message.turn().outcomes(0).committed(0).count();
                         }
                         if (message.has_turn()) stream.Write(Ack(message.turn().turn()));
                       }
                     });
  Session session(options_, queue_);
  std::thread run([&] { session.Run(); });
  queue_.Finish(*queue_.Take(), 1);
  EXPECT_TRUE(tests::WaitFor([&] { return repeated > 0 && queue_.HeldTokens().empty(); }, 10'000));
  session.Drain();
  run.join();
  EXPECT_EQ(held, 7u);
  EXPECT_EQ(repeated, 1u);
  EXPECT_EQ(scheduler.sessions(), 2);
}

TEST_F(SessionTest, ASilentSchedulerIsLeft) {
  Scripted scheduler(options_.schedulers[0], [&](int, const v1::Hello&, ServerStream& stream) {
    stream.Write(Welcome(100));
    ReadToEnd(stream);
  });
  Session session(options_, queue_);
  std::thread run([&] { session.Run(); });
  EXPECT_TRUE(tests::WaitFor([&] { return scheduler.sessions() >= 2; }, 10'000));
  session.Drain();
  run.join();
}

TEST_F(SessionTest, DrainedWithoutASchedulerLeaves) {
  options_.leave_patience_ms = 50;
  ASSERT_TRUE(queue_.Add(TestLease(1, 0, 5)).ok());
  Session session(options_, queue_);
  std::thread run([&] { session.Run(); });
  session.Drain();
  run.join();
  EXPECT_THAT(queue_.HeldTokens(), ::testing::ElementsAre(1));
}

}  // namespace
}  // namespace tiltshift::worker
