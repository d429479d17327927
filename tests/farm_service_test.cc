// The scheduler's services as a client and a worker see them: a real scheduler process over a real
// Redis.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include "base/file.h"
#include "proto/farm.grpc.pb.h"
#include "proto/leader.h"
#include "proto/worker.grpc.pb.h"
#include "store/redis_client.h"
#include "tests/support/append_only_file.h"
#include "tests/support/process.h"
#include "tests/support/redis_server.h"

namespace tiltshift::tests {
namespace {

using ::testing::HasSubstr;

v1::JobSpec Spec(const std::string& range) {
  v1::JobSpec spec;
  spec.set_name("test");
  spec.set_model("diorama");
  spec.set_prompt("number {n}");
  v1::Axis& axis = *spec.add_axes();
  axis.set_name("n");
  axis.set_range(range);
  return spec;
}

class FarmServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = FreshFolder();
    redis_ = std::make_unique<RedisServer>(folder_);
    StartScheduler();
  }
  void StartScheduler() {
    socket_ = "unix:/tmp/ts-scheduler-" + std::to_string(getpid());
    scheduler_ = std::make_unique<Process>(
        std::vector<std::string>{Program("tiltshift-scheduler"), "--listen", socket_, "--redis",
                                 redis_->address(), "--blobs", folder_ + "/blobs", "--lease-ttl-ms",
                                 "2000", "--heartbeat-ms", "200", "--leader-ttl-ms", "600"},
        folder_);
    grpc::ChannelArguments
        arguments;  // a connection of its own, not the one that died with the last scheduler
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    channel_ = grpc::CreateCustomChannel(socket_, grpc::InsecureChannelCredentials(), arguments);
    ASSERT_TRUE(
        channel_->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(20)))
        << scheduler_->Output();
    ASSERT_TRUE(WaitFor(
        [&] { return scheduler_->Output().find("leading: epoch") != std::string::npos; }, 10'000))
        << scheduler_->Output();
    farm_ = v1::Farm::NewStub(channel_);
  }
  void KillScheduler() {
    scheduler_->Signal(SIGKILL);
    scheduler_->Wait(10'000);
  }
  grpc::Status Submit(const v1::JobSpec& spec, v1::SubmitResponse* response,
                      const std::string& request_id = "") {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(2));
    v1::SubmitRequest request;
    *request.mutable_spec() = spec;
    request.set_request_id(request_id);
    return farm_->Submit(&context, request, response);
  }
  // Submissions in the blob store: a call that has come so far waits for Redis.
  size_t Submissions() {
    std::error_code none_yet;
    size_t count = 0;
    for (std::filesystem::directory_iterator it(folder_ + "/blobs/jobs", none_yet), end; it != end;
         ++it)
      ++count;
    return count;
  }
  v1::Job Job(const std::string& id) {
    grpc::ClientContext context;
    v1::GetJobRequest request;
    request.set_job_id(id);
    v1::Job job;
    EXPECT_TRUE(farm_->GetJob(&context, request, &job).ok());
    return job;
  }

  std::string folder_, socket_;
  std::unique_ptr<RedisServer> redis_;
  std::unique_ptr<Process> scheduler_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Farm::Stub> farm_;
};

// A worker that speaks the protocol by hand.
class Worker {
 public:
  Worker(std::shared_ptr<grpc::Channel> channel, const std::string& id,
         const std::vector<uint64_t>& held = {})
      : stub_(v1::Workers::NewStub(channel)), stream_(stub_->Session(&context_)) {
    v1::WorkerMessage message;
    message.mutable_hello()->set_worker_id(id);
    message.mutable_hello()->set_slots(1);
    message.mutable_hello()->set_protocol(1);
    for (const uint64_t token : held) message.mutable_hello()->add_held_tokens(token);
    stream_->Write(message);
    stream_->Read(&welcome_);
  }
  ~Worker() {
    context_.TryCancel();
    stream_->Finish();
  }
  // Sends a turn and reads until its acknowledgement and, where leases are wanted, a lease.
  void Turn(uint32_t want, const std::vector<v1::Outcome>& outcomes = {}) {
    v1::WorkerMessage message;
    message.mutable_turn()->set_turn(++turn_);
    message.mutable_turn()->set_want_leases(want);
    for (const auto& outcome : outcomes) *message.mutable_turn()->add_outcomes() = outcome;
    stream_->Write(message);
    lease.Clear();
    for (bool acknowledged = false; !acknowledged || (want > 0 && lease.token() == 0);) {
      v1::SchedulerMessage read;
      if (!stream_->Read(&read)) return;
      if (read.has_lease()) lease = read.lease();
      for (const v1::Lease& granted : read.turn_ack().leases()) lease = granted;
      if (read.has_trim()) trims.push_back(read.trim());
      if (read.has_turn_ack() && read.turn_ack().turn() == turn_) {
        acknowledged = true;
        ack = read.turn_ack();
      }
    }
  }
  static v1::Outcome Done(const v1::Lease& lease) {
    v1::Outcome outcome;
    outcome.set_token(lease.token());
    outcome.set_job_id(lease.job_id());
    *outcome.add_committed() = lease.range();
    outcome.set_render_seconds(0.001 * lease.range().count());
    return outcome;
  }
  const v1::SchedulerMessage& welcome() const { return welcome_; }

  v1::Lease lease;
  v1::TurnAck ack;
  std::vector<v1::Trim> trims;

 private:
  grpc::ClientContext context_;
  std::unique_ptr<v1::Workers::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::WorkerMessage, v1::SchedulerMessage>> stream_;
  v1::SchedulerMessage welcome_;
  uint64_t turn_ = 0;
};

// A submission that is on its way.
class PendingSubmit {
 public:
  PendingSubmit(v1::Farm::Stub& farm, const v1::JobSpec& spec) {
    *request_.mutable_spec() = spec;
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    thread_ = std::thread([&] {
      status_ = farm.Submit(&context_, request_, &response_);
      answered_ = true;
    });
  }
  ~PendingSubmit() {
    context_.TryCancel();
    if (thread_.joinable()) thread_.join();
  }
  bool answered() const { return answered_; }
  grpc::Status Status() {
    thread_.join();
    return status_;
  }

 private:
  grpc::ClientContext context_;
  v1::SubmitRequest request_;
  v1::SubmitResponse response_;
  grpc::Status status_;
  std::atomic<bool> answered_{false};
  std::thread thread_;
};

// I5
TEST_F(FarmServiceTest, TenMillionVariantsAreAcceptedAtOnce) {
  store::RedisClient client(*store::ParseRedisAddress(redis_->address()));
  auto used = [&] {
    const auto info = client.Run({"INFO", "memory"});
    return std::stoll(info->text.substr(info->text.find("used_memory:") + 12));
  };
  v1::SubmitResponse response;
  ASSERT_TRUE(Submit(Spec("1-10"), &response).ok());  // the connection is warm
  const int64_t before = used();
  const auto start = std::chrono::steady_clock::now();
  ASSERT_TRUE(Submit(Spec("1-10000000"), &response).ok());
  const double ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  EXPECT_EQ(response.variants(), 10'000'000u);
  EXPECT_LT(used() - before, 5'000'000);
  std::printf("10,000,000 variants accepted in %.1f ms, %lld bytes of Redis\n", ms,
              static_cast<long long>(used() - before));
  EXPECT_EQ(Job(response.job_id()).state(), v1::JOB_STATE_QUEUED);
}

TEST_F(FarmServiceTest, ARequestIdSubmitsOnce) {
  v1::SubmitResponse first, again, other;
  ASSERT_TRUE(Submit(Spec("1-10"), &first, "r-1").ok());
  ASSERT_TRUE(Submit(Spec("1-10"), &again, "r-1").ok());
  ASSERT_TRUE(Submit(Spec("1-10"), &other, "r-2").ok());
  EXPECT_EQ(first.job_id(), again.job_id());
  EXPECT_NE(first.job_id(), other.job_id());
  const grpc::Status changed = Submit(Spec("1-11"), &again, "r-1");
  EXPECT_EQ(changed.error_code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(changed.error_message(), "request_id: it was used for another spec; choose a new one");
  EXPECT_EQ(Submit(Spec("1-10"), &again, std::string(65, 'x')).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(FarmServiceTest, BadInputGetsTheRightStatus) {
  v1::SubmitResponse response;
  EXPECT_EQ(Submit(v1::JobSpec(), &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Submit(Spec("9-1"), &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  v1::JobSpec huge = Spec("1-4000000000");
  *huge.add_axes() = huge.axes(0);
  huge.mutable_axes(1)->set_name("m");
  EXPECT_EQ(Submit(huge, &response).error_code(), grpc::StatusCode::OUT_OF_RANGE);
  huge.mutable_axes(1)->set_range("1-2");  // a plan, but more than Redis has bits in a string
  const grpc::Status many = Submit(huge, &response);
  EXPECT_EQ(many.error_code(), grpc::StatusCode::OUT_OF_RANGE);
  EXPECT_THAT(many.error_message(), HasSubstr("the axes make 8000000000 variants"));
  grpc::ClientContext get_context, cancel_context, list_context, watch_context, read_context;
  v1::Job job;
  v1::GetJobRequest get;
  get.set_job_id("nothere");
  const grpc::Status missing = farm_->GetJob(&get_context, get, &job);
  EXPECT_EQ(missing.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(missing.error_message(),
            "there is no job \"nothere\"; `tiltshift list` shows the jobs");
  v1::CancelJobRequest cancel;
  cancel.set_job_id("nothere");
  EXPECT_EQ(farm_->CancelJob(&cancel_context, cancel, &job).error_code(),
            grpc::StatusCode::NOT_FOUND);
  v1::ListJobsRequest list;
  v1::ListJobsResponse jobs;
  list.set_limit(100'000);
  EXPECT_EQ(farm_->ListJobs(&list_context, list, &jobs).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  auto watch = farm_->WatchJob(&watch_context, get);
  EXPECT_FALSE(watch->Read(&job));
  EXPECT_EQ(watch->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
  v1::ReadOutputsRequest read;
  read.set_job_id("../../etc");
  v1::OutputPiece piece;
  auto outputs = farm_->ReadOutputs(&read_context, read);
  EXPECT_FALSE(outputs->Read(&piece));
  EXPECT_EQ(outputs->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(FarmServiceTest, ASessionMustBeginWithAHello) {
  auto stub = v1::Workers::NewStub(channel_);
  grpc::ClientContext context;
  auto stream = stub->Session(&context);
  v1::WorkerMessage message;
  message.mutable_turn()->set_want_leases(1);
  stream->Write(message);
  v1::SchedulerMessage answer;
  EXPECT_FALSE(stream->Read(&answer));
  EXPECT_EQ(stream->Finish().error_message(), "the first message must be hello");
}

// I2, I3: killed and restarted in the middle, the scheduler knows the lease, what was committed,
// and a stale token.
TEST_F(FarmServiceTest, ARestartedSchedulerGoesOn) {
  v1::SubmitResponse response;
  ASSERT_TRUE(Submit(Spec("1-100"), &response).ok());
  v1::Lease first, held;
  uint64_t epoch = 0;
  {
    Worker worker(channel_, "w");
    worker.Turn(1);
    first = worker.lease;
    EXPECT_EQ(first.spec().name(), "test");
    worker.Turn(1, {Worker::Done(first)});
    held = worker.lease;
    EXPECT_GT(held.token(), first.token());
    epoch = worker.welcome().welcome().epoch();
  }
  KillScheduler();
  StartScheduler();
  EXPECT_EQ(Job(response.job_id()).committed(), first.range().count());
  Worker worker(channel_, "w", {held.token(), 999});
  ASSERT_EQ(worker.welcome().welcome().lost_tokens_size(), 1);
  EXPECT_EQ(worker.welcome().welcome().lost_tokens(0), 999u);
  EXPECT_GT(worker.welcome().welcome().epoch(), epoch);
  worker.Turn(0, {Worker::Done(held), Worker::Done(first)});
  ASSERT_EQ(worker.ack.stale_tokens_size(), 1);
  EXPECT_EQ(worker.ack.stale_tokens(0), first.token());
  EXPECT_EQ(Job(response.job_id()).committed(), first.range().count() + held.range().count());
}

TEST_F(FarmServiceTest, RedisMayDieInTheMiddleOfAJob) {
  v1::SubmitResponse response;
  ASSERT_TRUE(Submit(Spec("1-1000"), &response).ok());
  Worker worker(channel_, "w");
  worker.Turn(1);
  int turns = 0;
  while (Job(response.job_id()).ended_unix_ms() == 0) {
    if (++turns == 3 || turns == 6) {
      redis_->KillMinus9();
      v1::SubmitResponse refused;
      WaitFor([&] { return !Submit(Spec("1-2"), &refused).ok(); }, 2'000);
      redis_->Start();
    }
    const uint64_t left = 1000 - Job(response.job_id()).committed() - worker.lease.range().count();
    worker.Turn(left > 0 ? 1 : 0, {Worker::Done(worker.lease)});
    ASSERT_LT(turns, 1000);
  }
  EXPECT_EQ(Job(response.job_id()).committed(), 1000u);
  EXPECT_EQ(Job(response.job_id()).state(), v1::JOB_STATE_DONE);
}

TEST_F(FarmServiceTest, CancelEndsAJobAndRevokesItsLeases) {
  v1::SubmitResponse response;
  ASSERT_TRUE(Submit(Spec("1-100"), &response).ok());
  Worker worker(channel_, "w");
  worker.Turn(1);
  grpc::ClientContext context;
  v1::CancelJobRequest request;
  request.set_job_id(response.job_id());
  v1::Job job;
  ASSERT_TRUE(farm_->CancelJob(&context, request, &job).ok());
  EXPECT_EQ(Job(response.job_id()).state(), v1::JOB_STATE_CANCELLED);
  worker.Turn(0, {Worker::Done(worker.lease)});
  EXPECT_EQ(worker.ack.stale_tokens_size(), 1);
  EXPECT_EQ(Job(response.job_id()).committed(), 0u);
}

// Whoever still waits for an answer gets one, so that the process can go.
TEST_F(FarmServiceTest, StopsWhileRedisIsAwayAndACallerWaits) {
  redis_->KillMinus9();
  PendingSubmit waiting(*farm_, Spec("1-5"));
  ASSERT_TRUE(WaitFor([&] { return waiting.answered() || Submissions() == 1; }, 10'000));
  scheduler_->Signal(SIGTERM);
  EXPECT_EQ(scheduler_->Wait(10'000), 0) << scheduler_->Output();
  EXPECT_EQ(waiting.Status().error_code(), grpc::StatusCode::UNAVAILABLE);
}

// I3: whoever waits is told, nothing is written, and the same process may lead again.
TEST_F(FarmServiceTest, AFormerLeaderAnswersItsCallersAndStandsBy) {
  v1::SubmitResponse response;
  ASSERT_TRUE(Submit(Spec("1-5"), &response).ok());
  store::RedisClient client(*store::ParseRedisAddress(redis_->address()));
  ASSERT_TRUE(client
                  .RunAll({{"INCR", "ts:epoch"},  // another took the lead
                           {"SET", "ts:leader", "other@elsewhere:7070", "PX", "3000"}})
                  .ok());
  PendingSubmit waiting(*farm_, Spec("1-5"));
  EXPECT_EQ(waiting.Status().error_code(), grpc::StatusCode::UNAVAILABLE);
  grpc::Status refused;
  EXPECT_TRUE(WaitFor(
      [&] {
        refused = Submit(Spec("1-5"), &response);
        return LeaderNamedBy(refused) == "elsewhere:7070";
      },
      2'500));
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(refused.error_message(),
            "this scheduler stands by: another scheduler leads: other@elsewhere:7070");
  ASSERT_TRUE(WaitFor([&] { return Submit(Spec("1-5"), &response).ok(); }, 10'000))
      << scheduler_->Output();
  EXPECT_EQ(Job(response.job_id()).variants(), 5u);
  EXPECT_EQ(client.Run({"ZCARD", "ts:jobs"})->integer, 2);
}

// I1 after a Redis that lost what it had not written to its file yet: nothing hangs, nothing that
// was promised is forgotten.
TEST_F(FarmServiceTest, RedisMayComeBackWithoutItsLastSecond) {
  v1::SubmitResponse first, later, cancelled;
  ASSERT_TRUE(Submit(Spec("1-20"), &first).ok());
  ASSERT_TRUE(Submit(Spec("1-100"), &cancelled).ok());
  Worker worker(channel_, "w");
  worker.Turn(1);
  const std::string file = AppendOnlyFiles(folder_).back();
  const auto written = std::filesystem::file_size(file);
  for (int i = 0; i < 3; ++i) worker.Turn(1, {Worker::Done(worker.lease)});
  ASSERT_TRUE(Submit(Spec("1-3"), &later).ok());
  grpc::ClientContext context;
  v1::CancelJobRequest cancel;
  cancel.set_job_id(cancelled.job_id());
  v1::Job job;
  ASSERT_TRUE(farm_->CancelJob(&context, cancel, &job).ok());
  redis_->KillMinus9();
  std::filesystem::resize_file(file, written);
  redis_->Start();

  const v1::Lease stale = worker.lease;
  ASSERT_TRUE(WaitFor(
      [&] { return scheduler_->Output().find("was restarted") != std::string::npos; }, 10'000))
      << scheduler_->Output();
  worker.Turn(1, {Worker::Done(stale)});
  for (int turns = 0; Job(later.job_id()).ended_unix_ms() == 0; ++turns) {
    ASSERT_LT(turns, 100);
    const bool last = Job(later.job_id()).committed() + worker.lease.range().count() == 3 &&
                      worker.lease.job_id() == later.job_id();
    worker.Turn(last ? 0 : 1, {Worker::Done(worker.lease)});
  }
  EXPECT_EQ(Job(first.job_id()).committed(), 20u);
  EXPECT_EQ(Job(first.job_id()).state(), v1::JOB_STATE_DONE);
  EXPECT_EQ(Job(later.job_id()).state(), v1::JOB_STATE_DONE);
  EXPECT_EQ(Job(cancelled.job_id()).state(), v1::JOB_STATE_CANCELLED);
  KillScheduler();  // and all of it is in Redis
  StartScheduler();
  EXPECT_EQ(Job(first.job_id()).state(), v1::JOB_STATE_DONE);
  EXPECT_EQ(Job(later.job_id()).state(), v1::JOB_STATE_DONE);
  EXPECT_EQ(Job(cancelled.job_id()).state(), v1::JOB_STATE_CANCELLED);
}

// An idle farm notices as well.
TEST_F(FarmServiceTest, WithoutRedisASubmissionIsRefusedAndSaysWhy) {
  redis_->KillMinus9();
  ASSERT_TRUE(
      WaitFor([&] { return scheduler_->Output().find("warn") != std::string::npos; }, 10'000));
  v1::SubmitResponse response;
  const grpc::Status refused = Submit(Spec("1-2"), &response);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(refused.error_message(), HasSubstr("nothing was accepted, try again soon"));
  EXPECT_THAT(refused.error_message(), HasSubstr("is redis-server running"));
  redis_->Start();
  EXPECT_TRUE(WaitFor([&] { return Submit(Spec("1-2"), &response).ok(); }, 10'000));
}

// What an operator changes is durable: it outlives the scheduler that was told.
TEST_F(FarmServiceTest, PausePriorityAndRetryOutliveTheScheduler) {
  v1::SubmitResponse submitted;
  ASSERT_TRUE(Submit(Spec("1-3"), &submitted).ok());
  const std::string id = submitted.job_id();
  v1::Job job;
  const auto explain = [&] {
    grpc::ClientContext context;
    v1::ExplainRequest request;
    request.set_job_id(id);
    v1::ExplainResponse response;
    EXPECT_TRUE(farm_->Explain(&context, request, &response).ok());
    return response.text();
  };
  {
    grpc::ClientContext context, context2, context3;
    v1::PauseJobRequest pause;
    pause.set_job_id(id);
    ASSERT_TRUE(farm_->PauseJob(&context, pause, &job).ok());
    EXPECT_EQ(job.state(), v1::JOB_STATE_PAUSED);
    v1::SetPriorityRequest priority;
    priority.set_job_id(id);
    priority.set_priority(101);
    EXPECT_EQ(farm_->SetPriority(&context2, priority, &job).error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
    priority.set_priority(7);
    ASSERT_TRUE(farm_->SetPriority(&context3, priority, &job).ok());
    EXPECT_EQ(job.priority(), 7);
  }
  KillScheduler();
  StartScheduler();
  EXPECT_EQ(Job(id).state(), v1::JOB_STATE_PAUSED);
  EXPECT_EQ(Job(id).priority(), 7);
  EXPECT_THAT(explain(), HasSubstr("It is paused"));
  {
    grpc::ClientContext context;
    v1::ResumeJobRequest resume;
    resume.set_job_id(id);
    ASSERT_TRUE(farm_->ResumeJob(&context, resume, &job).ok());
    EXPECT_EQ(job.state(), v1::JOB_STATE_QUEUED);
  }
  EXPECT_THAT(explain(), HasSubstr("No worker is connected"));

  const auto fail_or_do = [&](bool fail) {
    Worker worker(channel_, "w");
    for (int i = 0; i < 20 && Job(id).ended_unix_ms() == 0; ++i) {
      worker.Turn(1);
      v1::Outcome outcome = Worker::Done(worker.lease);
      if (fail) {
        outcome.clear_committed();
        for (uint64_t k = 0; k < worker.lease.range().count(); ++k) {
          auto& failed = *outcome.add_failed();
          failed.set_index(worker.lease.range().first() + k);
          failed.set_reason("too dark");
        }
      }
      worker.Turn(0, {outcome});
    }
  };
  fail_or_do(true);
  EXPECT_EQ(Job(id).state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(Job(id).failed(), 3u);
  EXPECT_THAT(explain(), HasSubstr("tiltshift retry " + id));
  {
    grpc::ClientContext context;
    v1::RetryFailedRequest retry;
    retry.set_job_id(id);
    ASSERT_TRUE(farm_->RetryFailed(&context, retry, &job).ok());
    EXPECT_EQ(job.failed(), 0u);
    EXPECT_EQ(job.ended_unix_ms(), 0);
  }
  KillScheduler();
  StartScheduler();
  EXPECT_EQ(Job(id).failed(), 0u);
  fail_or_do(false);
  EXPECT_EQ(Job(id).state(), v1::JOB_STATE_DONE);
  EXPECT_EQ(Job(id).committed(), 3u);
}

// I1, I3: what was stolen commits once, under the thief's token; the other's results for it are
// refused.
TEST_F(FarmServiceTest, AnIdleWorkerTakesTheEndOfALongLease) {
  v1::SubmitResponse submitted;
  ASSERT_TRUE(Submit(Spec("1-400"), &submitted).ok());
  const std::string id = submitted.job_id();
  const auto slowly = [](const v1::Lease& lease) {
    v1::Outcome outcome = Worker::Done(lease);
    outcome.set_render_seconds(1.0 * lease.range().count());
    return outcome;
  };
  Worker thief(channel_, "thief"), busy(channel_, "busy");
  thief.Turn(1);  // each renders a little first: their rates are known then
  thief.Turn(0, {slowly(thief.lease)});
  busy.Turn(1);
  busy.Turn(0, {slowly(busy.lease)});
  // All that waits goes to the busy one.
  std::vector<v1::Lease> held;
  for (uint32_t want = 1; Job(id).committed() + Job(id).leased() < 400; ++want) {
    busy.Turn(want);
    held.push_back(busy.lease);
  }
  const v1::Lease victim = held.back();
  thief.Turn(1);
  ASSERT_NE(thief.lease.token(), 0u);
  const v1::VariantRange stolen = thief.lease.range();
  EXPECT_EQ(stolen.first() + stolen.count(), victim.range().first() + victim.range().count());
  // The other has not heard of it, and says that it rendered all.
  std::vector<v1::Outcome> all;
  for (const v1::Lease& lease : held) all.push_back(slowly(lease));
  busy.Turn(0, all);
  ASSERT_FALSE(busy.trims.empty());
  EXPECT_EQ(busy.trims[0].token(), victim.token());
  EXPECT_EQ(busy.trims[0].end(), stolen.first());
  EXPECT_EQ(Job(id).committed(), 400 - stolen.count());
  KillScheduler();
  StartScheduler();
  Worker again(channel_, "thief", {thief.lease.token()});
  EXPECT_EQ(again.welcome().welcome().lost_tokens_size(), 0);
  again.Turn(0, {slowly(thief.lease)});
  EXPECT_EQ(Job(id).state(), v1::JOB_STATE_DONE);
  EXPECT_EQ(Job(id).committed(), 400u);
}

}  // namespace
}  // namespace tiltshift::tests
