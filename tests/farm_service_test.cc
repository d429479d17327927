// The scheduler's services as a client and a worker see them: a real scheduler process over a real
// Redis.
#include "tests/support/farm_service.h"

#include <gmock/gmock.h>

#include "store/redis_client.h"

namespace tiltshift::tests {
namespace {

using ::testing::HasSubstr;

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

// Nobody knew the model when the contest began; once a worker does, each batch is held against it.
TEST_F(FarmServiceTest, AppendedEntriesAreWhatTheModelNeeds) {
  v1::SubmitRequest submit;
  submit.mutable_spec()->set_kind(v1::JOB_KIND_CONTEST);
  submit.mutable_spec()->set_name("contest");
  submit.mutable_spec()->set_model("edits");
  submit.mutable_spec()->set_prompt("{id}");
  submit.mutable_entries()->add_columns("id");
  submit.mutable_entries()->add_entries()->add_values("first");
  grpc::ClientContext context;
  v1::SubmitResponse contest;
  ASSERT_TRUE(farm_->Submit(&context, submit, &contest).ok());
  const auto append = [&](const std::string& id) {
    v1::AppendEntriesRequest request;
    request.set_job_id(contest.job_id());
    request.mutable_entries()->add_columns("id");
    request.mutable_entries()->add_entries()->add_values(id);
    grpc::ClientContext context;
    v1::SubmitResponse response;
    return farm_->AppendEntries(&context, request, &response);
  };
  EXPECT_TRUE(append("second").ok());
  v1::ModelInfo edits;
  edits.set_name("edits");
  edits.set_needs("a photo");
  const Worker worker(channel_, "w", {}, {edits});
  const grpc::Status refused = append("third");
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(refused.error_message(), HasSubstr("edits makes pictures of a photo"));
  EXPECT_EQ(Job(contest.job_id()).variants(), 2u);
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
