// Several schedulers on one Redis, as real processes that are killed and frozen: one leads, who
// looks for it finds it, and a change of leader costs seconds and nothing else.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdio>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "proto/channel.h"
#include "proto/farm.grpc.pb.h"
#include "proto/health.grpc.pb.h"
#include "proto/leader.h"
#include "tests/support/folder_test.h"
#include "tests/support/redis_server.h"
#include "tests/support/scheduler_process.h"
#include "tests/support/worker_process.h"

namespace tiltshift::tests {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using ::testing::HasSubstr;
using ::testing::Not;
using Clock = std::chrono::steady_clock;

constexpr int kPatienceMs = 60'000;

class HighAvailabilityTest : public FolderTest {
 protected:
  void SetUp() override {
    for (int i = 0; i < 2; ++i) {
      Start(i);
      ASSERT_TRUE(i > 0 || schedulers_[0]->Leads()) << schedulers_[0]->process().Output();
    }
    both_ = schedulers_[0]->address() + "," + schedulers_[1]->address();
  }
  // With the usual time to live of a lead, not the tests' short one; where it was before.
  void Start(int which) {
    std::vector<std::string> options = {"--leader-ttl-ms", leader_ttl_ms_,   "--lease-ttl-ms",
                                        "60000",           "--heartbeat-ms", "1000"};
    if (schedulers_[which] != nullptr) {
      const std::string address = schedulers_[which]->address();
      schedulers_[which].reset();
      options.insert(options.end(), {"--listen", address});
    }
    schedulers_[which] = std::make_unique<SchedulerProcess>(folder_, redis_.address(), options);
  }
  void Kill(int which) {
    schedulers_[which]->process().Signal(SIGKILL);
    schedulers_[which]->process().Wait(kPatienceMs);
  }
  std::unique_ptr<Process> Run(std::vector<std::string> command, const std::string& schedulers) {
    command.insert(command.begin(), Program("tiltshift"));
    command.insert(command.end(), {"--scheduler", schedulers});
    return std::make_unique<Process>(command, folder_);
  }
  // The job's id.
  std::string Submit(int variants, const std::string& schedulers) {
    EXPECT_TRUE(WriteFileAtomic(folder_ + "/spec.yaml",
                                "name: job\nmodel: diorama\nprompt: number {n}\naxes: {n: {range: "
                                "1-" +
                                    std::to_string(variants) + "}}\n",
                                IfPresent::kReplace)
                    .ok());
    const auto submit = Run({"submit", folder_ + "/spec.yaml"}, schedulers);
    EXPECT_EQ(submit->Wait(kPatienceMs), 0) << submit->Errors();
    return submit->Output().substr(0, submit->Output().find(':'));
  }
  grpc::Status GetJob(int which, const std::string& id, v1::Job& job) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(1));
    v1::GetJobRequest request;
    request.set_job_id(id);
    const auto channel = ConnectTo(schedulers_[which]->address());
    return v1::Farm::NewStub(channel)->GetJob(&context, request, &job);
  }
  // Waits until `which` answers that more than `than` are committed; what it answered, or 0.
  uint64_t CommittedMore(int which, const std::string& id, uint64_t than) {
    v1::Job job;
    return WaitFor([&] { return GetJob(which, id, job).ok() && job.committed() > than; },
                   kPatienceMs)
               ? job.committed()
               : 0;
  }
  HealthCheckResponse::ServingStatus Health(int which) {
    grpc::ClientContext context;
    HealthCheckResponse response;
    const auto channel = ConnectTo(schedulers_[which]->address());
    grpc::health::v1::Health::NewStub(channel)->Check(&context, HealthCheckRequest(), &response);
    return response.status();
  }
  // Each variant was stored by one lease, once: none was lost, none rendered twice.
  void ExpectStoredOnce(const std::string& job, size_t variants) {
    std::multiset<std::string> indices;
    for (const auto& part :
         std::filesystem::directory_iterator(folder_ + "/blobs/jobs/" + job + "/manifest")) {
      const std::string name = part.path().filename();
      indices.insert(name.substr(0, name.find('-')));
    }
    EXPECT_EQ(indices.size(), variants);
    EXPECT_EQ(std::set<std::string>(indices.begin(), indices.end()).size(), variants);
  }

  RedisServer redis_{folder_};
  std::string leader_ttl_ms_ = "3000";
  std::unique_ptr<SchedulerProcess> schedulers_[2];
  std::string both_;
};

// I1, I2: kill -9 of whoever leads, three times in the middle of a job that a worker renders and a
// person watches.
TEST_F(HighAvailabilityTest, TakeoverInTheMiddleOfAJob) {
  constexpr int kVariants = 6'000;
  const auto worker = StartWorker(folder_, both_);
  const std::string job = Submit(kVariants, both_);
  const auto watch = Run({"watch", job, "--json"}, both_);
  uint64_t committed = CommittedMore(0, job, 100);
  ASSERT_GT(committed, 0u) << worker->Output();
  int leader = 0;
  for (int i = 0; i < 3; ++i) {
    const auto killed = Clock::now();
    Kill(leader);
    const int next = 1 - leader;
    const uint64_t now = CommittedMore(next, job, committed);
    const auto took =
        std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - killed).count();
    std::printf("kill -9 of the leader: the next one has committed more after %d ms (%lu, %lu)\n",
                static_cast<int>(took), static_cast<unsigned long>(committed),
                static_cast<unsigned long>(now));
    ASSERT_GT(now, 0u) << worker->Output() << schedulers_[next]->process().Output();
    committed = now;
    Start(leader);
    leader = next;
  }
  EXPECT_EQ(watch->Wait(4 * kPatienceMs), 0) << watch->Errors();
  EXPECT_THAT(watch->Output(), HasSubstr("JOB_STATE_DONE"));
  v1::Job ended;
  ASSERT_TRUE(GetJob(leader, job, ended).ok());
  EXPECT_EQ(ended.committed(), static_cast<uint64_t>(kVariants));
  ExpectStoredOnce(job, kVariants);
  EXPECT_THAT(worker->Output(), Not(HasSubstr("revoked")));
}

TEST_F(HighAvailabilityTest, AStandbyNamesTheLeaderAndServesNothing) {
  EXPECT_TRUE(WaitFor([&] { return Health(0) == HealthCheckResponse::SERVING; }, kPatienceMs));
  EXPECT_TRUE(WaitFor([&] { return Health(1) == HealthCheckResponse::NOT_SERVING; }, kPatienceMs));
  v1::Job job;
  grpc::Status refused;
  EXPECT_TRUE(WaitFor(
      [&] {
        refused = GetJob(1, "j", job);
        return LeaderNamedBy(refused) == schedulers_[0]->address();
      },
      kPatienceMs));
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(refused.error_message(), HasSubstr("stands by: another scheduler leads: scheduler-"));

  // Who knows the standby alone finds the leader by its word.
  const std::string standby = schedulers_[1]->address();
  const std::string id = Submit(20, standby);
  const auto list = Run({"list"}, standby);
  EXPECT_EQ(list->Wait(kPatienceMs), 0) << list->Errors();
  EXPECT_THAT(list->Output(), HasSubstr(id));
  both_ = standby;
  const auto worker = StartWorker(folder_, both_);
  const auto watch = Run({"watch", id}, standby);
  EXPECT_EQ(watch->Wait(kPatienceMs), 0) << watch->Errors() << worker->Output();
  const auto get = Run({"get", id, "--out", folder_ + "/out"}, standby);
  EXPECT_EQ(get->Wait(kPatienceMs), 0) << get->Errors();
  EXPECT_THAT(get->Output(), HasSubstr("20 pictures"));
}

// A lead that ends by itself after the patience of the test alone.
class LongLeadTest : public HighAvailabilityTest {
 protected:
  LongLeadTest() { leader_ttl_ms_ = std::to_string(10 * kPatienceMs); }
};

// A lead that is given up in order is taken at once.
TEST_F(LongLeadTest, AnOrderlyEndHandsOver) {
  const std::string job = Submit(10, both_);
  const auto ended = Clock::now();
  schedulers_[0]->process().Signal(SIGTERM);
  EXPECT_EQ(schedulers_[0]->process().Wait(kPatienceMs), 0);
  const auto status = Run({"status", job}, both_);
  EXPECT_EQ(status->Wait(kPatienceMs), 0) << status->Errors();
  const auto took =
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - ended).count();
  std::printf("SIGTERM of the leader: the next one answered after %d ms\n", static_cast<int>(took));
}

// I3: a leader that was frozen, and thinks it leads still, commits nothing, steps down, and may
// lead again when the other is gone.
TEST_F(HighAvailabilityTest, AFrozenLeaderStepsDownAndLeadsAgain) {
  constexpr int kVariants = 4'000;
  const std::string job = Submit(kVariants, both_);
  const auto worker = StartWorker(folder_, both_);
  const uint64_t before = CommittedMore(0, job, 50);
  ASSERT_GT(before, 0u) << worker->Output();
  schedulers_[0]->process().Signal(SIGSTOP);
  ASSERT_TRUE(schedulers_[1]->Leads());
  schedulers_[0]->process().Signal(SIGCONT);
  EXPECT_TRUE(WaitFor(
      [&] {
        v1::Job view;
        return LeaderNamedBy(GetJob(0, job, view)) == schedulers_[1]->address();
      },
      kPatienceMs))
      << schedulers_[0]->process().Output();
  EXPECT_THAT(schedulers_[0]->process().Output(), HasSubstr("stepping down"));
  const uint64_t committed = CommittedMore(1, job, before);
  ASSERT_GT(committed, 0u) << worker->Output();
  Kill(1);
  ASSERT_TRUE(schedulers_[0]->Leads(2)) << schedulers_[0]->process().Output();
  EXPECT_GE(CommittedMore(0, job, kVariants - 1), static_cast<uint64_t>(kVariants));
  ExpectStoredOnce(job, kVariants);
}

TEST_F(HighAvailabilityTest, WithoutAnyTheCommandSaysSo) {
  Kill(0);
  Kill(1);
  const auto list = Run({"list"}, both_);
  EXPECT_EQ(list->Wait(kPatienceMs), 3);
  EXPECT_THAT(list->Errors(), HasSubstr("none of the schedulers "));
}

}  // namespace
}  // namespace tiltshift::tests
