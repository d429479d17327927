// Every bad input of a worker's session, against a real scheduler over a real Redis: each gets the
// right status and a message that says what to do, nothing is committed that must not be, and the
// scheduler goes on serving.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "proto/channel.h"
#include "tests/support/folder_test.h"
#include "tests/support/redis_server.h"
#include "tests/support/scheduler_process.h"
#include "tests/support/services_by_hand.h"

namespace tiltshift::tests {
namespace {

using grpc::StatusCode;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class HostileSessionsTest : public FolderTest {
 protected:
  void SetUp() override { ASSERT_TRUE(scheduler_.Leads()) << scheduler_.process().Output(); }
  // It lives, and takes a job.
  void TearDown() override {
    EXPECT_TRUE(scheduler_.process().Running()) << scheduler_.process().Errors();
    NewJob();
  }

  std::string NewJob() {
    grpc::ClientContext context;
    v1::SubmitRequest request;
    *request.mutable_spec() = Spec();
    v1::SubmitResponse response;
    EXPECT_TRUE(farm_->Submit(&context, request, &response).ok());
    return response.job_id();
  }
  v1::Job Job(const std::string& id) {
    grpc::ClientContext context;
    v1::GetJobRequest request;
    request.set_job_id(id);
    v1::Job job;
    EXPECT_TRUE(farm_->GetJob(&context, request, &job).ok());
    return job;
  }
  // How a session ends that sends `message` first.
  grpc::Status Greeted(const v1::WorkerMessage& message) {
    Session session(channel_);
    session.Send(message);
    return session.End();
  }
  // How a session ends that sends `message` after its hello.
  grpc::Status Told(const v1::WorkerMessage& message) {
    Session session(channel_, "told", 0);
    session.Send(message);
    return session.End();
  }
  // How a session ends whose lease has this outcome.
  grpc::Status Turned(const std::function<void(v1::Outcome&)>& change) {
    Session session(channel_, "turned", 1);
    v1::Outcome outcome = session.Done();
    change(outcome);
    session.Turn(2, 0, {outcome});
    return session.End();
  }

  RedisServer redis_{folder_};
  SchedulerProcess scheduler_{folder_, redis_.address()};
  std::shared_ptr<grpc::Channel> channel_ = ConnectTo(scheduler_.address());
  std::unique_ptr<v1::Farm::Stub> farm_ = v1::Farm::NewStub(channel_);
};

TEST_F(HostileSessionsTest, SessionsThatBeginWrong) {
  const auto changed = [&](const std::function<void(v1::Hello&)>& change) {
    v1::WorkerMessage message = Session::Hello("w");
    change(*message.mutable_hello());
    return Greeted(message);
  };
  const auto invalid = StatusCode::INVALID_ARGUMENT;
  v1::WorkerMessage turn, heartbeat;
  turn.mutable_turn()->set_want_leases(1);
  heartbeat.mutable_heartbeat();
  for (const v1::WorkerMessage& first : {v1::WorkerMessage(), turn, heartbeat})
    EXPECT_THAT(Greeted(first), Refused(invalid, "the first message must be hello"));
  EXPECT_THAT(
      changed([](auto& h) { h.set_protocol(9); }),
      Refused(invalid,
              HasSubstr("are none of this scheduler's, 1 to 2; use a worker of its version")));
  EXPECT_THAT(changed([](auto& h) { h.clear_worker_id(); }),
              Refused(invalid, "hello.worker_id: is empty"));
  EXPECT_THAT(changed([](auto& h) { h.set_worker_id(std::string(129, 'w')); }),
              Refused(invalid, "hello.worker_id: longer than 128 bytes"));
  EXPECT_THAT(changed([](auto& h) { h.set_worker_id("a b"); }),
              Refused(invalid, "hello.worker_id: holds white space"));
  EXPECT_THAT(changed([](auto& h) { h.set_worker_id("a\x1b[2J"); }),
              Refused(invalid, "hello.worker_id: holds a control character"));
  EXPECT_THAT(changed([](auto& h) { h.set_device(std::string(257, 'd')); }),
              Refused(invalid, "hello.device: longer than 256 bytes"));
  for (const uint32_t slots : {0u, 1'025u, UINT32_MAX})
    EXPECT_THAT(changed([&](auto& h) { h.set_slots(slots); }),
                Refused(invalid, HasSubstr("a worker has 1 to 1024")));
  EXPECT_THAT(changed([](auto& h) {
                for (int i = 0; i < 10'001; ++i) h.add_held_tokens(i);
              }),
              Refused(invalid, "hello.held_tokens: more than 10000"));
  EXPECT_THAT(changed([](auto& h) {
                for (int i = 0; i < 1'001; ++i) h.add_models();
              }),
              Refused(invalid, "hello.models: more than 1000"));
  EXPECT_THAT(changed([](auto& h) {
                for (int i = 0; i < 1'001; ++i) h.add_loras();
              }),
              Refused(invalid, "hello.loras: more than 1000"));
  EXPECT_THAT(changed([](auto& h) { h.add_loras()->set_name(std::string(257, 'l')); }),
              Refused(invalid, "hello.loras[0]: longer than 256 bytes"));
}

TEST_F(HostileSessionsTest, AMessageBeyondWhatGrpcTakes) {
  v1::WorkerMessage hello = Session::Hello("large");
  hello.mutable_hello()->set_device(std::string(5 << 20, 'd'));
  const grpc::Status status = Greeted(hello);
  EXPECT_THAT(status, Refused(StatusCode::RESOURCE_EXHAUSTED, HasSubstr("larger than max")));
}

TEST_F(HostileSessionsTest, MessagesThatAWorkerMustNotSend) {
  NewJob();
  const auto invalid = StatusCode::INVALID_ARGUMENT;
  EXPECT_THAT(Told(Session::Hello("again")), Refused(invalid, StartsWith("hello: ")));
  EXPECT_THAT(Told(v1::WorkerMessage()), Refused(invalid, StartsWith("a message without")));
  v1::WorkerMessage message;
  for (int i = 0; i < 10'001; ++i) message.mutable_heartbeat()->add_held_tokens(i);
  EXPECT_THAT(Told(message), Refused(invalid, "heartbeat.held_tokens: more than 10000"));
  message.mutable_turn()->set_want_leases(UINT32_MAX);
  EXPECT_THAT(Told(message), Refused(invalid, HasSubstr("is more than 4096")));
}

TEST_F(HostileSessionsTest, TurnsThatClaimTooMuch) {
  const std::string job = NewJob();
  const auto invalid = StatusCode::INVALID_ARGUMENT;
  const auto range = [](uint64_t first, uint64_t count) {
    return [=](v1::Outcome& outcome) {
      outcome.mutable_committed(0)->set_first(first);
      outcome.mutable_committed(0)->set_count(count);
    };
  };
  const uint64_t beyond = uint64_t{1} << 32;
  for (const auto& [first, count] : std::vector<std::pair<uint64_t, uint64_t>>{
           {0, 0}, {0, kMost}, {5, kMost}, {kMost, 1}, {kMost, kMost}, {0, beyond + 1}}) {
    EXPECT_THAT(Turned(range(first, count)),
                Refused(invalid, HasSubstr("turn.outcomes[0].committed[0]: first ")));
  }
  EXPECT_THAT(Turned([&](auto& o) { o.add_failed()->set_index(beyond); }),
              Refused(invalid, HasSubstr("turn.outcomes[0].failed[0].index: ")));
  for (const double seconds : {-1.0, std::nan(""), HUGE_VAL, 1e300})
    EXPECT_THAT(Turned([&](auto& o) { o.set_render_seconds(seconds); }),
                Refused(invalid, HasSubstr("turn.outcomes[0].render_seconds: ")));
  EXPECT_EQ(Job(job).committed(), 0u);
}

// I1, I3: what is not leased to who says so is not committed, however it is put.
TEST_F(HostileSessionsTest, OutcomesOfOthers) {
  const std::string job = NewJob(), other = NewJob();
  Session owner(channel_, "owner", 1), thief(channel_, "thief", 0);
  ASSERT_EQ(owner.lease.range().count(), 1u);
  const auto stale = [&](Session& session, uint64_t turn, const v1::Outcome& outcome) {
    session.Turn(turn, 0, {outcome});
    const v1::TurnAck ack = session.Acknowledged(turn);
    return ack.stale_tokens_size() == 1 && ack.stale_tokens(0) == outcome.token();
  };
  EXPECT_TRUE(stale(thief, 1, owner.Done())) << "the lease is another's";
  v1::Outcome forged = owner.Done();
  forged.set_job_id(other);
  EXPECT_TRUE(stale(owner, 2, forged)) << "the lease is of another job";
  forged.set_job_id(job);
  for (const uint64_t token : {uint64_t{0}, owner.lease.token() + 1'000, kMost}) {
    forged.set_token(token);
    EXPECT_TRUE(stale(owner, 3, forged)) << "no such lease";
  }
  v1::Outcome greedy = owner.Done();
  greedy.mutable_committed(0)->set_first(owner.lease.range().first() + 1);
  greedy.mutable_committed(0)->set_count(1'000'000);
  v1::FailedVariant& failed = *greedy.add_failed();
  failed.set_index(kVariants + 5);
  failed.set_reason("not mine");
  owner.Turn(4, 0, {greedy});
  EXPECT_EQ(owner.Acknowledged(4).turn(), 4u);
  EXPECT_EQ(Job(job).committed(), 0u);
  EXPECT_EQ(Job(job).failed(), 0u);

  // The same turn again, and its outcome in other turns: acknowledged, committed once.
  owner.Turn(5, 0, {owner.Done()});
  EXPECT_EQ(owner.Acknowledged(5).stale_tokens_size(), 0);
  for (const uint64_t turn : {5, 5, 6}) {
    owner.Turn(turn, 0, {owner.Done(), owner.Done()});
    EXPECT_EQ(owner.Acknowledged(turn).turn(), turn);
  }
  EXPECT_EQ(Job(job).committed(), 1u);
  EXPECT_EQ(Job(other).committed(), 0u);
}

TEST_F(HostileSessionsTest, AReasonOfMegabytesIsCutShort) {
  const std::string job = NewJob();
  uint64_t turn = 1;
  Session session(channel_, "w", 1);
  for (int attempt = 0; attempt < 3; ++attempt) {
    v1::Outcome outcome = session.Done();
    outcome.clear_committed();
    v1::FailedVariant& failed = *outcome.add_failed();
    failed.set_index(session.lease.range().first());
    for (int i = 0; i < 1'000'000; ++i) failed.mutable_reason()->append("\xc3\xa9");
    // Its retry comes first or not at all: what else comes is done.
    const uint64_t index = failed.index();
    session.lease.Clear();
    session.Turn(++turn, 1, {outcome});
    session.Acknowledged(turn);
    while (attempt < 2 && (session.lease.token() == 0 || session.lease.range().first() != index)) {
      const auto done = session.lease.token() == 0 ? std::vector<v1::Outcome>()
                                                   : std::vector<v1::Outcome>{session.Done()};
      session.lease.Clear();
      session.Turn(++turn, 1, done);
      session.Acknowledged(turn);
    }
  }
  const v1::Job view = Job(job);
  ASSERT_EQ(view.failures_size(), 1);
  EXPECT_EQ(view.failures(0).reason().size(), 999u);  // no character is cut in two
  EXPECT_THAT(view.failures(0).reason(), AllOf(StartsWith("\xc3\xa9"), HasSubstr("...")));
}

}  // namespace
}  // namespace tiltshift::tests
