// One trace from a submission to its commits, through the logs of every process of a farm; and what
// `tiltshift logs` finds in them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/support/folder_test.h"
#include "tests/support/redis_server.h"
#include "tests/support/scheduler_process.h"
#include "tests/support/worker_process.h"

namespace tiltshift::tests {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

constexpr int kPatienceMs = 30'000;
constexpr char kTrace[] = "4bf92f3577b34da6a3ce929d0e0e4736";

class TraceFarmTest : public FolderTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(
        WaitFor([&] { return scheduler_.process().Output().find("leading") != std::string::npos; },
                kPatienceMs));
    std::ofstream(folder_ + "/spec.yaml")
        << "name: traced\nmodel: any\nprompt: \"{n}\"\naxes: {n: {range: 0-9}}\n";
  }
  std::string Run(std::vector<std::string> command, bool to_the_farm = true) {
    command.insert(command.begin(), Program("tiltshift"));
    if (to_the_farm) command.insert(command.end(), {"--scheduler", scheduler_.address()});
    Process process(command, folder_);
    EXPECT_EQ(process.Wait(kPatienceMs), 0) << process.Output() << process.Errors();
    return process.Output();
  }
  void StartWorker() {
    worker_ = tests::StartWorker(folder_, scheduler_.address(), {"--name", "w", "--log", "json"});
  }
  // What both wrote so far, as files.
  std::vector<std::string> Logs() {
    std::ofstream(folder_ + "/scheduler.log") << scheduler_.process().Output();
    std::ofstream(folder_ + "/worker.log") << worker_->Output() << "a line that is no JSON\n";
    return {folder_ + "/worker.log", folder_ + "/scheduler.log"};
  }
  std::vector<json> Find(const std::string& subject) {
    const auto logs = Logs();
    std::istringstream lines(Run({"logs", subject, logs[0], logs[1], "--json"}, false));
    std::vector<json> found;
    for (std::string line; std::getline(lines, line);) found.push_back(json::parse(line));
    return found;
  }

  RedisServer redis_{folder_};
  SchedulerProcess scheduler_{folder_, redis_.address(), {"--log", "json"}};
  std::unique_ptr<Process> worker_;
};

TEST_F(TraceFarmTest, FromSubmissionToCommit) {
  StartWorker();
  setenv("TRACEPARENT", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", 1);
  const std::string job = json::parse(Run({"submit", folder_ + "/spec.yaml", "--json"}))["job_id"];
  unsetenv("TRACEPARENT");
  const std::string other =
      json::parse(Run({"submit", folder_ + "/spec.yaml", "--json"}))["job_id"];
  Run({"watch", job});
  Run({"watch", other});

  std::vector<std::string> told;
  ASSERT_TRUE(WaitFor([&] { return Find(job + "/7").size() >= 5; }, kPatienceMs)) << job;
  std::set<std::string> shards;
  for (const json& line : Find(job + "/7")) {
    told.push_back(line["message"]);
    EXPECT_EQ(line["job"], job);
    EXPECT_EQ(line["trace"], kTrace) << line;
    EXPECT_GT(line["epoch"], 0) << line;
    if (line.contains("variant")) {
      EXPECT_EQ(line["variant"], 7);
    }
    if (line.contains("shard")) shards.insert(line["shard"].dump());
    if (told.back() == "begun" || told.back() == "stored" || told.back() == "leased") {
      EXPECT_THAT(line["worker"].get<std::string>(), HasSubstr("w-")) << line;
    }
  }
  EXPECT_THAT(told, IsSupersetOf({"accepted", "leased", "begun", "stored", "committed"}));
  EXPECT_EQ(told.front(), "accepted");
  EXPECT_EQ(shards.size(), 1u) << "of one lease";
  EXPECT_GE(Find(kTrace).size(), 2u + 2 * 10) << "all of the job";
  for (const json& line : Find(kTrace)) EXPECT_EQ(line["job"], job);
  const auto of_other = Find(other);  // which brought no trace, and has its own
  ASSERT_FALSE(of_other.empty());
  EXPECT_EQ(of_other[0]["trace"].get<std::string>().size(), 32u);
  EXPECT_NE(of_other[0]["trace"], kTrace);
  const auto logs = Logs();
  EXPECT_THAT(Run({"logs", job + "/7", logs[0], logs[1]}, false),
              HasSubstr(" info stored variant=7 shard="));
}

}  // namespace
}  // namespace tiltshift::tests
