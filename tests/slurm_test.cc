// deploy/slurm against a real slurmctld and slurmd: workers as an array job render a job to its
// end, and leave in order when Slurm tells them to.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/file.h"
#include "proto/channel.h"
#include "proto/farm.grpc.pb.h"
#include "tests/support/folder_test.h"
#include "tests/support/redis_server.h"
#include "tests/support/scheduler_process.h"
#include "tests/support/slurm_cluster.h"

namespace tiltshift::tests {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr int kPatienceMs = 60'000;
constexpr char kScript[] = TILTSHIFT_SOURCE_DIR "/deploy/slurm/tiltshift-workers.sbatch";

class SlurmTest : public FolderTest {
 protected:
  void SetUp() override {
    if (const std::string missing = SlurmCluster::Missing(); !missing.empty())
      GTEST_SKIP() << missing;
    cluster_ = std::make_unique<SlurmCluster>(folder_, 8);
    scheduler_ = std::make_unique<SchedulerProcess>(folder_, redis_.address());
    ASSERT_TRUE(scheduler_->Leads()) << scheduler_->process().Output();
    farm_ = v1::Farm::NewStub(ConnectTo(scheduler_->address()));
    setenv("TILTSHIFT_SCHEDULER", scheduler_->address().c_str(), 1);
    setenv("TILTSHIFT_BLOBS", (folder_ + "/blobs").c_str(), 1);
    setenv("TILTSHIFT_WORKER", Program("tiltshift-worker").c_str(), 1);
    setenv("TILTSHIFT_WORKER_OPTIONS", "--render noop  --keep-free 0", 1);
  }
  void TearDown() override {
    for (const char* name :
         {"TILTSHIFT_SCHEDULER", "TILTSHIFT_BLOBS", "TILTSHIFT_WORKER", "TILTSHIFT_WORKER_OPTIONS"})
      unsetenv(name);
  }

  // The array job's id.
  std::string Sbatch(const std::vector<std::string>& options) {
    std::vector<std::string> command = {"sbatch", "--parsable", "--chdir=" + folder_};
    command.insert(command.end(), options.begin(), options.end());
    command.push_back(kScript);
    return cluster_->Run(command);
  }
  bool Ended(const std::string& id) {
    return WaitFor(
        [&] {
          return cluster_->Run({"squeue", "--noheader", "--jobs=" + id}).empty();
        },
        kPatienceMs);
  }
  std::string Log(const std::string& id, int task) {
    const auto log =
        ReadFile(folder_ + "/tiltshift-worker-" + id + "_" + std::to_string(task) + ".log");
    return log.ok() ? *log : "";
  }
  std::vector<v1::WorkerInfo> Workers() {
    grpc::ClientContext context;
    v1::ListWorkersResponse workers;
    EXPECT_TRUE(farm_->ListWorkers(&context, {}, &workers).ok());
    return {workers.workers().begin(), workers.workers().end()};
  }
  std::string Submit(int variants) {
    grpc::ClientContext context;
    v1::SubmitRequest request;
    v1::JobSpec& spec = *request.mutable_spec();
    spec.set_name("test");
    spec.set_model("diorama");
    spec.set_prompt("number {n}");
    spec.add_axes()->set_name("n");
    spec.mutable_axes(0)->set_range("1-" + std::to_string(variants));
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

  RedisServer redis_{folder_};
  std::unique_ptr<SlurmCluster> cluster_;
  std::unique_ptr<SchedulerProcess> scheduler_;
  std::unique_ptr<v1::Farm::Stub> farm_;
};

TEST_F(SlurmTest, AnArrayOfWorkersRendersAJob) {
  const std::string id = Sbatch({"--array=0-2", "--cpus-per-task=2"});
  ASSERT_TRUE(WaitFor([&] { return Workers().size() == 3; }, kPatienceMs))
      << cluster_->Run({"squeue"}) << Log(id, 0);
  for (const v1::WorkerInfo& worker : Workers()) {
    EXPECT_THAT(worker.id(), StartsWith("slurm-" + id + "_"));
    EXPECT_EQ(worker.slots(), 2u);
  }
  const std::string job = Submit(1'000);
  EXPECT_TRUE(WaitFor([&] { return Job(job).state() == v1::JOB_STATE_DONE; }, kPatienceMs))
      << Job(job).ShortDebugString() << Log(id, 0);
  EXPECT_EQ(Job(job).committed(), 1'000u);
  cluster_->Run({"scancel", id});
  EXPECT_TRUE(Ended(id));
}

// In the middle of a job: what was begun is committed, the rest is given back at once, and no lease
// has to expire.
TEST_F(SlurmTest, ScancelDrains) {
  const std::string id = Sbatch({"--array=0-1"});
  ASSERT_TRUE(WaitFor([&] { return Workers().size() == 2; }, kPatienceMs)) << Log(id, 0);
  const std::string job = Submit(1'000'000);
  ASSERT_TRUE(WaitFor([&] { return Job(job).committed() > 100; }, kPatienceMs)) << Log(id, 0);
  cluster_->Run({"scancel", id});
  EXPECT_TRUE(WaitFor([&] { return Workers().empty(); }, kPatienceMs));
  EXPECT_TRUE(Ended(id));
  const v1::Job left = Job(job);
  EXPECT_EQ(left.leased(), 0u);
  EXPECT_LT(left.committed(), left.variants());
  for (int task = 0; task < 2; ++task) {
    EXPECT_THAT(Log(id, task), HasSubstr("draining: renders stop at their next step"));
    EXPECT_THAT(Log(id, task), HasSubstr("info stopped"));
  }
}

// Slurm says so a minute before (here: as soon as it looks), and the task ends well.
TEST_F(SlurmTest, BeforeItsTimeIsUpATaskDrains) {
  const std::string id = Sbatch({"--array=0-0", "--time=1"});
  ASSERT_TRUE(WaitFor([&] { return Workers().size() == 1; }, kPatienceMs)) << Log(id, 0);
  EXPECT_TRUE(Ended(id));
  EXPECT_THAT(cluster_->Run({"scontrol", "--oneliner", "show", "job", id}),
              HasSubstr("JobState=COMPLETED"));
  EXPECT_THAT(Log(id, 0), HasSubstr("info stopped"));
}

// A task that Slurm puts back begins again, as another worker, and adds to its log.
TEST_F(SlurmTest, ARequeuedTaskComesBack) {
  const std::string id = Sbatch({"--array=0-0"});
  ASSERT_TRUE(WaitFor([&] { return Workers().size() == 1; }, kPatienceMs)) << Log(id, 0);
  const std::string before = Workers()[0].id();
  cluster_->Run({"scontrol", "requeue", id + "_0"});
  EXPECT_TRUE(WaitFor(
      [&] {
        return cluster_->Run({"squeue", "--noheader", "--format=%T", "--jobs=" + id}) == "PENDING";
      },
      kPatienceMs));
  EXPECT_TRUE(WaitFor([&] { return Workers().empty(); }, kPatienceMs));
  EXPECT_THAT(Log(id, 0), HasSubstr("info stopped"));
  cluster_->Run(
      {"scontrol", "update", "JobId=" + id + "_0", "StartTime=now"});  // else in 2 minutes
  ASSERT_TRUE(WaitFor([&] { return Workers().size() == 1; }, kPatienceMs)) << Log(id, 0);
  EXPECT_THAT(Workers()[0].id(), AllOf(StartsWith("slurm-" + id + "_0-"), Not(before)));
  EXPECT_THAT(Log(id, 0), HasSubstr("info stopped\n"));
  cluster_->Run({"scancel", id});
  EXPECT_TRUE(Ended(id));
}

TEST_F(SlurmTest, WhatIsMissingIsSaid) {
  for (const char* name : {"TILTSHIFT_SCHEDULER", "TILTSHIFT_BLOBS"}) {
    const std::string value = std::getenv(name);
    unsetenv(name);
    const std::string id = Sbatch({"--array=0-0"});
    EXPECT_TRUE(Ended(id));
    EXPECT_THAT(Log(id, 0), HasSubstr(std::string("tiltshift-workers.sbatch: ") + name +
                                      " is not set: export the farm's "));
    EXPECT_THAT(cluster_->Run({"scontrol", "--oneliner", "show", "job", id}),
                HasSubstr("JobState=FAILED"));
    setenv(name, value.c_str(), 1);
  }
  setenv("TILTSHIFT_WORKER", "/nowhere/tiltshift-worker", 1);
  const std::string id = Sbatch({"--array=0-0"});
  EXPECT_TRUE(Ended(id));
  EXPECT_THAT(Log(id, 0), HasSubstr("there is no /nowhere/tiltshift-worker on "));
}

}  // namespace
}  // namespace tiltshift::tests
