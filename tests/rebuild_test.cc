// I2: a Redis that lost everything, files and all, comes back from the blob store.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/match.h"
#include "base/file.h"
#include "tests/support/redis_server.h"
#include "tests/support/scheduler_process.h"
#include "tests/support/worker_process.h"

namespace tiltshift::tests {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr int kPatienceMs = 60'000;

// Redis, a scheduler and a worker in a folder of their own.
class Farm {
 public:
  explicit Farm(const std::string& folder)
      : folder_(folder), redis_folder_(folder + "/redis"), redis_(MakeRedis()) {}

  void Start() {
    StartWithoutLead();
    ASSERT_TRUE(scheduler_->Leads()) << scheduler_->process().Output();
  }
  void StartWithoutLead() {
    scheduler_ = std::make_unique<SchedulerProcess>(folder_, redis_->address());
  }
  std::string Said() const { return scheduler_->process().Output(); }
  void StartWorker() { worker_ = tests::StartWorker(folder_, scheduler_->address()); }
  // The worker leaves in order; the scheduler and Redis do not.
  void Kill() {
    worker_->Signal(SIGTERM);
    EXPECT_EQ(worker_->Wait(kPatienceMs), 0) << worker_->Output();
    scheduler_->process().Signal(SIGKILL);
    scheduler_->process().Wait(kPatienceMs);
    redis_->KillMinus9();
  }
  void LoseRedis() {
    fs::remove_all(redis_folder_);
    redis_.reset();
    redis_ = MakeRedis();
  }
  // Its exit code; what it said goes to `said`.
  int Rebuild(std::string* said) {
    Process rebuild({Program("tiltshift-scheduler"), "--rebuild", "--redis", redis_->address(),
                     "--blobs", folder_ + "/blobs"},
                    folder_);
    const int code = rebuild.Wait(kPatienceMs);
    *said = rebuild.Output();
    return code;
  }
  std::string Run(std::vector<std::string> command) {
    command.insert(command.begin(), Program("tiltshift"));
    command.insert(command.end(), {"--scheduler", scheduler_->address()});
    Process process(command, folder_);
    last_code_ = process.Wait(kPatienceMs);
    EXPECT_NE(last_code_, -1) << process.Errors();
    return process.Output();
  }
  // The job's id: the same in every farm.
  std::string Submit(const std::string& name, int variants) {
    const std::string spec = folder_ + "/" + name + ".yaml";
    EXPECT_TRUE(WriteFileAtomic(spec,
                                "name: " + name +
                                    "\nmodel: diorama\nprompt: number {n}\naxes: {n: "
                                    "{range: 1-" +
                                    std::to_string(variants) + "}}\n",
                                IfPresent::kReplace)
                    .ok());
    const std::string said = Run({"submit", spec, "--request-id", name});
    return said.substr(0, said.find(':'));
  }
  nlohmann::json Status(const std::string& job) {
    return nlohmann::json::parse(Run({"status", job, "--json"}));
  }
  uint64_t Committed(const std::string& job) {
    return std::stoull(Status(job)["committed"].get<std::string>());
  }
  std::string State(const std::string& job) { return Status(job)["state"].get<std::string>(); }
  std::vector<std::string> Files(const std::string& job, const std::string& what) {
    std::vector<std::string> names;
    std::error_code none;
    for (const auto& file : fs::directory_iterator(Folder(job, what), none))
      names.push_back(file.path().filename());
    return names;
  }
  std::string Folder(const std::string& job, const std::string& what) const {
    return folder_ + "/blobs/jobs/" + job + "/" + what;
  }

 private:
  std::unique_ptr<RedisServer> MakeRedis() {
    fs::create_directories(redis_folder_);
    return std::make_unique<RedisServer>(redis_folder_);
  }
  const std::string folder_, redis_folder_;
  std::unique_ptr<RedisServer> redis_;
  std::unique_ptr<SchedulerProcess> scheduler_;
  std::unique_ptr<Process> worker_;
  int last_code_ = 0;
};

std::map<std::string, std::string> Outputs(Farm& farm, const std::string& job) {
  std::map<std::string, std::string> bytes;
  for (const std::string& name : farm.Files(job, "outputs"))
    bytes[name] = *ReadFile(farm.Folder(job, "outputs") + "/" + name);
  return bytes;
}

constexpr int kVariants = 3'000;

TEST(RebuildTest, HalfAJobIsFinishedAsIfNothingHadHappened) {
  const std::string folder = FreshFolder();
  std::map<std::string, std::string> undisturbed;
  {
    fs::create_directories(folder + "/undisturbed");
    Farm farm(folder + "/undisturbed");
    ASSERT_NO_FATAL_FAILURE(farm.Start());
    farm.StartWorker();
    const std::string job = farm.Submit("half", kVariants);
    farm.Run({"watch", job});
    undisturbed = Outputs(farm, job);
    ASSERT_EQ(undisturbed.size(), static_cast<size_t>(kVariants));
  }
  fs::create_directories(folder + "/lost");
  Farm farm(folder + "/lost");
  ASSERT_NO_FATAL_FAILURE(farm.Start());
  const std::string cancelled = farm.Submit("cancelled", 50);
  farm.Run({"cancel", cancelled});
  farm.StartWorker();
  const std::string done = farm.Submit("done", 20);
  farm.Run({"watch", done});
  const std::string half = farm.Submit("half", kVariants);
  ASSERT_TRUE(WaitFor([&] { return farm.Committed(half) > 100; }, kPatienceMs));
  farm.Kill();
  const size_t stored = farm.Files(half, "manifest").size();
  ASSERT_LT(stored, static_cast<size_t>(kVariants)) << "it was too fast for this test";
  farm.LoseRedis();

  std::string said;
  ASSERT_EQ(farm.Rebuild(&said), 0) << said;
  EXPECT_THAT(said, HasSubstr("rebuilt: 3 jobs (1 cancelled), " + std::to_string(stored + 20) +
                              " of " + std::to_string(kVariants + 70) + " variants committed"));
  ASSERT_NO_FATAL_FAILURE(farm.Start());
  EXPECT_EQ(farm.Committed(half), stored);
  EXPECT_EQ(farm.State(done), "JOB_STATE_DONE");
  EXPECT_EQ(farm.State(cancelled), "JOB_STATE_CANCELLED");
  EXPECT_EQ(farm.Submit("half", kVariants), half);  // a repeat is the same job still
  const auto list = nlohmann::json::parse(farm.Run({"list", "--json"}));
  ASSERT_EQ(list["jobs"].size(), 3u);
  EXPECT_EQ(list["jobs"][0]["id"], half);  // newest first
  EXPECT_EQ(list["jobs"][2]["id"], cancelled);

  farm.StartWorker();
  farm.Run({"watch", half});
  EXPECT_EQ(farm.Committed(half), static_cast<uint64_t>(kVariants));
  EXPECT_EQ(Outputs(farm, half), undisturbed);
  // Nothing was rendered twice: a manifest line a variant. And tokens have only risen (I3).
  std::set<std::string> indices;
  for (const std::string& part : farm.Files(half, "manifest"))
    EXPECT_TRUE(indices.insert(part.substr(0, part.find('-'))).second) << part;
  EXPECT_EQ(indices.size(), static_cast<size_t>(kVariants));
  EXPECT_TRUE(farm.Files(cancelled, "outputs").empty());
}

TEST(RebuildTest, IsRefusedWhereThereIsSomethingToLose) {
  Farm farm(FreshFolder());
  std::string said;
  EXPECT_EQ(farm.Rebuild(&said), 0) << said;  // nothing from nothing
  EXPECT_THAT(said, HasSubstr("rebuilt: 0 jobs"));
  ASSERT_NO_FATAL_FAILURE(farm.Start());
  EXPECT_EQ(farm.Rebuild(&said), 1);
  EXPECT_THAT(said, HasSubstr("stop every scheduler of this Redis first: another scheduler leads"));
  const std::string job = farm.Submit("j", 5);
  EXPECT_EQ(farm.Rebuild(&said), 1);
  EXPECT_THAT(said, HasSubstr("is not empty"));
  farm.StartWorker();
  farm.Run({"watch", job});
  EXPECT_EQ(farm.State(job), "JOB_STATE_DONE");
}

// A farm that had forgotten its jobs would say nothing of it: nobody leads, until it is rebuilt.
TEST(RebuildTest, SchedulersWaitForIt) {
  const std::string folder = FreshFolder();
  Farm farm(folder);
  ASSERT_NO_FATAL_FAILURE(farm.Start());
  farm.StartWorker();
  const std::string job = farm.Submit("j", 5);
  farm.Run({"watch", job});
  farm.Kill();
  farm.LoseRedis();
  farm.StartWithoutLead();
  ASSERT_TRUE(
      WaitFor([&] { return absl::StrContains(farm.Said(), "is empty, and the blob store holds"); },
              kPatienceMs))
      << farm.Said();
  std::string said;
  EXPECT_EQ(farm.Rebuild(&said), 0) << said;
  ASSERT_TRUE(
      WaitFor([&] { return absl::StrContains(farm.Said(), "leading: epoch"); }, kPatienceMs))
      << farm.Said();
  EXPECT_EQ(farm.State(job), "JOB_STATE_DONE");
}

TEST(RebuildTest, DamageIsNamed) {
  const std::string folder = FreshFolder();
  Farm farm(folder);
  ASSERT_NO_FATAL_FAILURE(farm.Start());
  farm.StartWorker();
  const std::string job = farm.Submit("j", 5);
  farm.Run({"watch", job});
  farm.Kill();
  farm.LoseRedis();
  // A manifest part that can't be read, an output that is gone: both are rendered again.
  const std::string first = farm.Files(job, "manifest")[0];
  ASSERT_TRUE(WriteFileAtomic(farm.Folder(job, "manifest") + "/" + first, "{\"index\":\n",
                              IfPresent::kReplace)
                  .ok());
  const std::string number = first.substr(0, first.find('-')) == "4" ? "3" : "4";
  fs::remove(farm.Folder(job, "outputs") + "/" + number + ".png");
  fs::create_directories(folder + "/blobs/jobs/stray/outputs");
  ASSERT_TRUE(WriteFileAtomic(folder + "/blobs/jobs/stray/outputs/x", "", IfPresent::kKeep).ok());
  std::string said;
  EXPECT_EQ(farm.Rebuild(&said), 0) << said;
  EXPECT_THAT(said, HasSubstr("3 of 5 variants committed"));
  EXPECT_THAT(said, HasSubstr("left out: jobs/" + job + "/manifest/" + first));
  EXPECT_THAT(said, HasSubstr("left out: jobs/stray/ has no submission"));

  farm.LoseRedis();
  ASSERT_TRUE(
      WriteFileAtomic(folder + "/blobs/jobs/" + job + "/spec.binpb", "\xff", IfPresent::kReplace)
          .ok());
  EXPECT_EQ(farm.Rebuild(&said), 1);
  EXPECT_THAT(said, HasSubstr("jobs/" + job + "/spec.binpb is damaged"));
}

}  // namespace
}  // namespace tiltshift::tests
