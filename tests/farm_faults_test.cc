// What its callers see when the scheduler or its Redis dies, or another scheduler takes the lead.
#include <gmock/gmock.h>

#include "proto/leader.h"
#include "store/redis_client.h"
#include "tests/support/append_only_file.h"
#include "tests/support/farm_service.h"

namespace tiltshift::tests {
namespace {

using ::testing::HasSubstr;

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
      EXPECT_FALSE(Submit(Spec("1-2"), &refused, "", std::chrono::seconds(1)).ok());
      redis_->Start();
    }
    const uint64_t left = 1000 - Job(response.job_id()).committed() - worker.lease.range().count();
    worker.Turn(left > 0 ? 1 : 0, {Worker::Done(worker.lease)});
    ASSERT_LT(turns, 1000);
  }
  EXPECT_EQ(Job(response.job_id()).committed(), 1000u);
  EXPECT_EQ(Job(response.job_id()).state(), v1::JOB_STATE_DONE);
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
                           {"SET", "ts:leader", "other@elsewhere:7070"}})
                  .ok());
  PendingSubmit waiting(*farm_, Spec("1-5"));
  EXPECT_EQ(waiting.Status().error_code(), grpc::StatusCode::UNAVAILABLE);
  grpc::Status refused;
  EXPECT_TRUE(WaitFor(
      [&] {
        refused = Submit(Spec("1-5"), &response);
        return LeaderNamedBy(refused) == "elsewhere:7070";
      },
      10'000));
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(refused.error_message(),
            "this scheduler stands by: another scheduler leads: other@elsewhere:7070");
  ASSERT_TRUE(client.Run({"DEL", "ts:leader"}).ok());  // and has gone
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

}  // namespace
}  // namespace tiltshift::tests
