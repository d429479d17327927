// A scheduler that hangs without a word, its connections open: who waits for it must notice, and go
// to the one that leads now.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "base/file.h"
#include "proto/channel.h"
#include "proto/farm.grpc.pb.h"
#include "tests/support/folder_test.h"
#include "tests/support/redis_server.h"
#include "tests/support/scheduler_process.h"
#include "tests/support/scrape.h"
#include "tests/support/worker_process.h"

namespace tiltshift::tests {
namespace {

constexpr int kPatienceMs = 20'000;
// Pings, a missing answer, a lead that changes, and a slow machine.
constexpr int kNoticeMs = 2 * (kPingEveryMs + kPingTimeoutMs) + kPatienceMs;

class FrozenSchedulerTest : public FolderTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(WriteFileAtomic(folder_ + "/spec.yaml",
                                "name: long\nmodel: diorama\nprompt: number {n}\n"
                                "axes: {n: {range: 1-1000000}}\n",
                                IfPresent::kReplace)
                    .ok());
    ASSERT_TRUE(Connected(first_)) << first_.process().Output();
  }
  // TCP, as between machines. Leases that outlive the test: a worker must not need one to end
  // before it notices. A lead that a busy machine takes from nobody.
  static std::vector<std::string> Options() {
    return {"--listen",        "127.0.0.1:" + std::to_string(FreePort()),
            "--lease-ttl-ms",  "600000",
            "--leader-ttl-ms", "3000"};
  }
  bool Connected(SchedulerProcess& scheduler) {
    farm_ = v1::Farm::NewStub(channel_ = ConnectTo(scheduler.address()));
    return scheduler.Leads() && channel_->WaitForConnected(std::chrono::system_clock::now() +
                                                           std::chrono::milliseconds(kPatienceMs));
  }
  std::string Submit() {
    Process submit({Program("tiltshift"), "submit", folder_ + "/spec.yaml", "--scheduler",
                    first_.address(), "--request-id", "r"},
                   folder_);
    EXPECT_EQ(submit.Wait(kPatienceMs), 0) << submit.Errors();
    grpc::ClientContext context;
    v1::ListJobsResponse jobs;
    EXPECT_TRUE(farm_->ListJobs(&context, {}, &jobs).ok());
    return jobs.jobs(0).id();
  }
  uint64_t Committed(const std::string& job_id) {
    grpc::ClientContext context;
    v1::GetJobRequest request;
    request.set_job_id(job_id);
    v1::Job job;
    EXPECT_TRUE(farm_->GetJob(&context, request, &job).ok());
    return job.committed();
  }
  void Cancel(const std::string& job_id) {
    grpc::ClientContext context;
    v1::CancelJobRequest request;
    request.set_job_id(job_id);
    v1::Job job;
    EXPECT_TRUE(farm_->CancelJob(&context, request, &job).ok());
  }

  RedisServer redis_{folder_};
  SchedulerProcess first_{folder_, redis_.address(), Options()};
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Farm::Stub> farm_;
};

TEST_F(FrozenSchedulerTest, TheWorkerAndAWatcherLeaveIt) {
  const std::string job = Submit();
  SchedulerProcess second(folder_, redis_.address(), Options());
  const std::string both = first_.address() + "," + second.address();
  const auto worker = StartWorker(folder_, both, {"--slots", "1"});
  Process watch({Program("tiltshift"), "watch", job, "--json", "--scheduler", both}, folder_);
  ASSERT_TRUE(WaitFor([&] { return Committed(job) > 0 && !watch.Output().empty(); }, kPatienceMs))
      << worker->Output() << watch.Errors();
  first_.process().Signal(SIGSTOP);
  ASSERT_TRUE(Connected(second)) << second.process().Output();
  const uint64_t before = Committed(job);
  EXPECT_TRUE(WaitFor([&] { return Committed(job) > before; }, kNoticeMs)) << worker->Output();
  Cancel(job);
  EXPECT_EQ(watch.Wait(kNoticeMs), 4) << watch.Errors();
}

}  // namespace
}  // namespace tiltshift::tests
