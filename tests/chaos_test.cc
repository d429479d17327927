// I1, I2, I3 under kill -9: two schedulers, four workers, one Redis. Every second one of the seven,
// at random, is killed and a moment later started again; then what the blob store and Redis' file
// say is counted.
//
// A longer run by hand (docs/chaos.md):
//   TILTSHIFT_CHAOS_VARIANTS=1000000 TILTSHIFT_CHAOS_SECONDS=600 build/release/tests/chaos_test
// TILTSHIFT_CHAOS_SEED repeats a run's kills.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "base/backoff.h"
#include "base/file.h"
#include "proto/channel.h"
#include "proto/farm.grpc.pb.h"
#include "store/redis_client.h"
#include "tests/support/append_only_file.h"
#include "tests/support/folder_test.h"
#include "tests/support/redis_server.h"
#include "tests/support/scheduler_process.h"
#include "tests/support/worker_process.h"

namespace tiltshift::tests {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kSchedulers = 2, kWorkers = 4;
constexpr int kKillEveryMs = 1'000;
constexpr int kLongestDownMs = 1'500;
constexpr int kPatienceMs = 30'000;

uint64_t Setting(const std::string& name, uint64_t usual) {
  const char* text = std::getenv(("TILTSHIFT_CHAOS_" + name).c_str());
  return text == nullptr ? usual : std::strtoull(text, nullptr, 10);
}

// One of those who are killed.
struct Member {
  std::string kind;
  std::function<void()> start;
  std::function<bool()> running;
  std::function<void()> kill;
  bool down = false;
  Clock::time_point back_at;
};

// The log of attempts, as Redis' file has it.
struct AttemptLog {
  struct Lease {
    std::string job, worker;
    uint64_t first = 0, count = 0;
    bool Covers(const std::string& of_job, uint64_t index, const std::string& by) const {
      return job == of_job && worker == by && index >= first && index - first < count;
    }
  };
  std::map<uint64_t, Lease> leases;           // by token, as they were granted
  std::map<std::string, uint64_t> committed;  // by job: as the last commit counted them
  std::vector<std::string> wrong;

  void See(const std::vector<std::string>& words) {
    if (words.size() < 4 || words[0] != "HSET") return;
    for (size_t i = 2; words[1] == "ts:leases" && i + 1 < words.size(); i += 2) {
      std::istringstream record(words[i + 1]);
      Lease lease;
      uint64_t lost = 0;
      record >> lease.job >> lease.first >> lease.count >> lost >> lease.worker;
      Grant(std::stoull(words[i]), lease);
    }
    if (words[2] == "committed")
      Commit(words[1].substr(std::string("ts:job:").size()), std::stoull(words[3]));
  }
  void Commit(const std::string& job, uint64_t in_all) {
    if (in_all < committed[job]) wrong.push_back("job " + job + " has fewer commits than before");
    committed[job] = in_all;
  }
  // Tokens rise (I3). A lease that is written again is one whose end was stolen, or a group that
  // was sent twice.
  void Grant(uint64_t token, const Lease& lease) {
    const auto earlier = leases.find(token);
    if (earlier == leases.end() && (leases.empty() || token > leases.rbegin()->first)) {
      leases[token] = lease;
      return;
    }
    const bool again =
        earlier != leases.end() && lease.count > 0 &&
        earlier->second.Covers(lease.job, lease.first, lease.worker) &&
        earlier->second.Covers(lease.job, lease.first + lease.count - 1, lease.worker);
    if (!again) wrong.push_back("token " + std::to_string(token) + " was granted out of turn");
  }
};

class ChaosTest : public FolderTest {
 protected:
  void SetUp() override {
    for (int i = 0; i < kSchedulers; ++i) AddScheduler(i);
    for (int i = 0; i < kWorkers; ++i) AddWorker(i);
    members_.push_back({"redis", [this] { redis_.Start(); }, [this] { return redis_.Running(); },
                        [this] { redis_.KillMinus9(); }});
    std::printf("seed %lu: TILTSHIFT_CHAOS_SEED=%lu kills the same again\n", seed_, seed_);
  }

  void AddScheduler(int i) {
    const auto start = [this, i] {
      std::vector<std::string> options = {"--lease-ttl-ms", "2000"};
      if (schedulers_[i] != nullptr) {
        CountLeads(i);
        options.insert(options.end(), {"--listen", schedulers_[i]->address()});
        schedulers_[i].reset();
      }
      schedulers_[i] = std::make_unique<SchedulerProcess>(folder_, redis_.address(), options);
    };
    start();
    addresses_ += (i > 0 ? "," : "") + schedulers_[i]->address();
    members_.push_back({"scheduler", start, [this, i] { return Scheduler(i).Running(); },
                        [this, i] { Kill(Scheduler(i)); }});
  }
  void AddWorker(int i) {
    const auto start = [this, i] {
      workers_[i] = StartWorker(folder_, addresses_, {"--slots", "4"});
    };
    start();
    members_.push_back({"worker", start, [this, i] { return workers_[i]->Running(); },
                        [this, i] { Kill(*workers_[i]); }});
  }
  Process& Scheduler(int which) { return schedulers_[which]->process(); }
  static void Kill(Process& process) {
    process.Signal(SIGKILL);
    process.Wait(kPatienceMs);
  }
  void CountLeads(int scheduler) {
    const std::string output = Scheduler(scheduler).Output();
    for (size_t at = 0; (at = output.find("leading: epoch", at)) != std::string::npos; ++at)
      ++leads_;
  }

  std::unique_ptr<Process> Run(std::vector<std::string> command) {
    command.insert(command.begin(), Program("tiltshift"));
    command.insert(command.end(), {"--scheduler", addresses_});
    return std::make_unique<Process>(command, folder_);
  }
  void BeginSubmit() {
    submit_ = Run({"submit", folder_ + "/spec.yaml", "--request-id",
                   "chaos-" + std::to_string(jobs_.size())});
  }
  // No submission is under way. One that did not come through is tried again: the same request.
  bool Submitted() {
    if (submit_ == nullptr) return true;
    if (submit_->Running()) return false;
    if (submit_->Wait(0) != 0) {
      BeginSubmit();
      return false;
    }
    const std::string output = submit_->Output();
    jobs_.push_back(output.substr(0, output.find(':')));
    submit_.reset();
    return true;
  }
  // Sees that a job is under way: the next is submitted when the last has ended. Blocks nobody.
  void KeepBusy() {
    if (!Submitted()) return;
    v1::Job job;
    if (jobs_.empty() || (Look(jobs_.back(), job) && job.ended_unix_ms() != 0)) BeginSubmit();
  }
  bool Look(const std::string& id, v1::Job& job) {
    for (const auto& scheduler : schedulers_) {
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + milliseconds(200));
      v1::GetJobRequest request;
      request.set_job_id(id);
      const auto stub = v1::Farm::NewStub(ConnectTo(scheduler->address()));
      if (stub->GetJob(&context, request, &job).ok()) return true;
    }
    return false;
  }

  void KillForAWhile(Clock::duration duration) {
    const auto end = Clock::now() + duration;
    auto next_kill = Clock::now() + milliseconds(kKillEveryMs);
    while (Clock::now() < end) {
      for (Member& member : members_) {
        if (!member.down || Clock::now() < member.back_at) continue;
        member.down = false;
        member.start();
      }
      if (Clock::now() >= next_kill) {
        next_kill += milliseconds(kKillEveryMs);
        KillOne();
        if (HasFatalFailure()) return;
      }
      KeepBusy();
      std::this_thread::sleep_for(milliseconds(10));
    }
    for (Member& member : members_) {
      if (member.down) member.start();
    }
  }
  void KillOne() {
    Member* victim = nullptr;
    do {
      victim = &members_[random_() % members_.size()];
    } while (victim->down);
    ASSERT_TRUE(victim->running()) << "a " << victim->kind << " ended by itself, see " << folder_;
    victim->kill();
    ++kills_[victim->kind];
    victim->down = true;
    victim->back_at = Clock::now() + milliseconds(random_() % kLongestDownMs);
  }

  // Nobody is killed any more: every job must end. Variants over which three workers were killed
  // have failed, as they should; they are tried again.
  void Finish() {
    ASSERT_TRUE(WaitFor([&] { return Submitted(); }, kPatienceMs));
    for (const std::string& id : jobs_) {
      v1::Job job;
      const auto ended = [&] { return Look(id, job) && job.ended_unix_ms() != 0; };
      const int patience_ms = kPatienceMs + static_cast<int>(variants_) * 3;
      ASSERT_TRUE(WaitFor(ended, patience_ms)) << job.ShortDebugString() << " see " << folder_;
      while (job.state() == v1::JOB_STATE_FAILED) {
        given_up_ += job.failed();
        const auto retry = Run({"retry", id});
        ASSERT_EQ(retry->Wait(kPatienceMs), 0) << retry->Errors();
        ASSERT_TRUE(WaitFor(ended, patience_ms)) << job.ShortDebugString() << " see " << folder_;
      }
    }
    for (int i = 0; i < kSchedulers; ++i) CountLeads(i);
    for (auto& worker : workers_) worker->Signal(SIGTERM);
    for (auto& worker : workers_) EXPECT_EQ(worker->Wait(kPatienceMs), 0) << worker->Output();
  }

  void ReadLog() {
    ReadAppendOnlyFile(folder_, [this](const std::vector<std::string>& words) { log_.See(words); });
    EXPECT_EQ(log_.wrong, std::vector<std::string>());
  }
  void ExpectCommittedOnce(const std::string& job) {
    const auto status = Run({"status", job, "--json"});
    ASSERT_EQ(status->Wait(kPatienceMs), 0) << status->Errors();
    const auto told = nlohmann::json::parse(status->Output());
    EXPECT_EQ(told["state"], "JOB_STATE_DONE");
    EXPECT_EQ(told["committed"], std::to_string(variants_));
    EXPECT_EQ(told["variants"], std::to_string(variants_));

    store::RedisClient redis(*store::ParseRedisAddress(redis_.address()));
    EXPECT_EQ(redis.Run({"BITCOUNT", "ts:job:" + job + ":done"})->integer,
              static_cast<int64_t>(variants_));
    EXPECT_EQ(redis.Run({"BITCOUNT", "ts:job:" + job + ":failed"})->integer, 0);
    EXPECT_EQ(redis.Run({"HLEN", "ts:leases"})->integer, 0);
    EXPECT_EQ(log_.committed[job], variants_) << "as Redis' file has it";

    uint64_t pictures = 0;
    for (const auto& picture : fs::directory_iterator(folder_ + "/blobs/jobs/" + job + "/outputs"))
      pictures += picture.path().extension() == ".png";
    EXPECT_EQ(pictures, variants_);
    ExpectEveryLine(job);
  }
  // Each variant has a line, and each line belongs to a lease that was granted to its worker.
  void ExpectEveryLine(const std::string& job) {
    std::vector<uint32_t> lines(variants_);
    uint64_t strange = 0;
    for (const auto& part : fs::directory_iterator(folder_ + "/blobs/jobs/" + job + "/manifest")) {
      if (part.path().extension() != ".jsonl") continue;
      const std::string name = part.path().stem();
      const auto lease = log_.leases.find(std::stoull(name.substr(name.rfind('-') + 1)));
      std::istringstream text(*ReadFile(part.path().string()));
      for (std::string line; std::getline(text, line);) {
        const auto info = nlohmann::json::parse(line);
        const uint64_t index = std::stoull(info["index"].get<std::string>());
        ASSERT_LT(index, variants_) << part.path();
        ++lines[index];
        strange += lease == log_.leases.end() || !lease->second.Covers(job, index, info["worker"]);
      }
    }
    EXPECT_EQ(strange, 0u) << "lines under a lease that their worker never had";
    EXPECT_EQ(std::count(lines.begin(), lines.end(), 0u), 0) << "variants lost";
    for (const uint32_t count : lines) repeated_ += count - 1;
  }

  const uint64_t seed_ = Setting("SEED", RandomSeed());
  const uint64_t variants_ = Setting("VARIANTS", 100'000);
  std::mt19937_64 random_{seed_};
  // A file that is never rewritten is the log of all that was ever changed.
  RedisServer redis_{folder_, {"--auto-aof-rewrite-percentage", "0"}};
  std::unique_ptr<SchedulerProcess> schedulers_[kSchedulers];
  std::unique_ptr<Process> workers_[kWorkers], submit_;
  std::vector<Member> members_;
  std::vector<std::string> jobs_;
  std::string addresses_;
  std::map<std::string, int> kills_;
  int leads_ = 0;
  uint64_t given_up_ = 0, repeated_ = 0;
  AttemptLog log_;
};

// Whatever happens, for as long as it happens.
TEST_F(ChaosTest, KillMinus9OfAnyoneEverySecond) {
  ASSERT_TRUE(WriteFileAtomic(folder_ + "/spec.yaml",
                              "name: chaos\nmodel: diorama\nprompt: number {n}\naxes: {n: {range: "
                              "1-" +
                                  std::to_string(variants_) + "}}\n",
                              IfPresent::kReplace)
                  .ok());
  const auto begin = Clock::now();
  KillForAWhile(std::chrono::seconds(Setting("SECONDS", 60)));
  if (HasFatalFailure()) return;
  const auto killed = Clock::now();
  Finish();
  if (HasFatalFailure()) return;
  const auto finished = Clock::now();
  ReadLog();
  for (const std::string& job : jobs_) ExpectCommittedOnce(job);
  const auto seconds = [](auto from, auto to) {
    return std::chrono::duration<double>(to - from).count();
  };
  std::printf(
      "%zu jobs of %lu variants; %.1f s of kill -9: %d schedulers, %d workers, %d of Redis; "
      "%.1f s more to the end\n%d leaderships, %zu leases, %lu variants stored twice, %lu given up "
      "and tried again\n",
      jobs_.size(), variants_, seconds(begin, killed), kills_["scheduler"], kills_["worker"],
      kills_["redis"], seconds(killed, finished), leads_, log_.leases.size(), repeated_, given_up_);
}

}  // namespace
}  // namespace tiltshift::tests
