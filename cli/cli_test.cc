// The commands against a real farm: redis-server, scheduler and a worker that renders 1x1 pictures.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.h"
#include "base/hash.h"
#include "tests/support/folder_test.h"
#include "tests/support/process.h"
#include "tests/support/redis_server.h"
#include "tests/support/worker_process.h"

namespace tiltshift::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using tests::Process;
using tests::Program;

constexpr int kLongMs = 60'000;

struct Result {
  int code;
  std::string output, errors;
  nlohmann::json json() const { return nlohmann::json::parse(output); }
};

class CliTest : public tests::FolderTest {
 protected:
  void SetUp() override { StartScheduler(); }
  void StartScheduler() {
    scheduler_ = std::make_unique<Process>(
        std::vector<std::string>{Program("tiltshift-scheduler"), "--listen", address_, "--redis",
                                 redis_.address(), "--blobs", folder_ + "/blobs", "--leader-ttl-ms",
                                 "600"},
        folder_);
    ASSERT_TRUE(tests::WaitFor([&] { return Run({"list"}).code == 0; }, kLongMs));
  }
  void StartWorker() { worker_ = tests::StartWorker(folder_, address_); }
  std::string Spec(const std::string& range, const std::string& name) {
    const std::string path = folder_ + "/spec.yaml";
    EXPECT_TRUE(WriteFileAtomic(path,
                                "name: numbers\nmodel: diorama\nprompt: number {n}\naxes: {n: "
                                "{range: " +
                                    range + "}}\noutput: {name: \"" + name + "\"}\n",
                                IfPresent::kReplace)
                    .ok());
    return path;
  }
  Result Run(std::vector<std::string> arguments, bool farm = true) {
    arguments.insert(arguments.begin(), Program("tiltshift"));
    if (farm) arguments.insert(arguments.end(), {"--scheduler", address_});
    Process process(arguments, folder_);
    const int code = process.Wait(kLongMs);
    return {code, process.Output(), process.Errors()};
  }
  // The id of a job that has ended well.
  std::string Rendered(const std::string& range, const std::string& name = "{n}") {
    StartWorker();
    const Result result = Run({"submit", Spec(range, name), "--watch", "--json"});
    EXPECT_EQ(result.code, 0) << result.errors;
    return nlohmann::json::parse(result.output.substr(0, result.output.find('\n')))["job_id"];
  }

  const std::string address_ = "unix:/tmp/ts-cli-test-" + std::to_string(getpid());
  tests::RedisServer redis_{folder_};
  std::unique_ptr<Process> scheduler_, worker_;
};

TEST_F(CliTest, GetFetchesChecksAndMends) {
  const std::string job = Rendered("1-50");
  const std::string out = folder_ + "/out";
  Result got = Run({"get", job, "--out", out, "--json"});
  ASSERT_EQ(got.code, 0) << got.errors;
  EXPECT_EQ(got.json()["fetched"], 50);
  uint64_t index = 0;
  std::istringstream manifest(*ReadFile(out + "/manifest.jsonl"));
  for (std::string line; std::getline(manifest, line); ++index) {
    const auto info = nlohmann::json::parse(line);
    EXPECT_EQ(info["index"], std::to_string(index));
    EXPECT_EQ(info["sha256"], Sha256Hex(*ReadFile(out + "/" + std::string(info["name"]))));
  }
  EXPECT_EQ(index, 50u);

  EXPECT_EQ(Run({"get", job, "--out", out, "--json"}).json()["fetched"], 0);
  fs::remove(out + "/7.png");
  ASSERT_TRUE(WriteFileAtomic(out + "/9.png", "damaged", IfPresent::kReplace).ok());
  EXPECT_EQ(Run({"get", job, "--out", out, "--json"}).json()["fetched"], 2);
  EXPECT_EQ(Run({"get", job, "--out", out, "--json"}).json()["fetched"], 0);
}

TEST_F(CliTest, ASheetReplacesNoPicture) {
  const std::string job = Rendered("1-130", "sheet-{n}");
  const std::string out = folder_ + "/out";
  ASSERT_EQ(Run({"get", job, "--out", out}).code, 0);
  const std::string picture = *ReadFile(out + "/sheet-2.png");
  const Result sheet = Run({"sheet", out, "--json", "--cell", "16"}, /*farm=*/false);
  ASSERT_EQ(sheet.code, 0) << sheet.errors;
  EXPECT_EQ(sheet.json()["sheets"],
            (nlohmann::json{out + "/contact-sheet.png", out + "/contact-sheet-2.png"}));
  EXPECT_EQ(*ReadFile(out + "/sheet-2.png"), picture);
}

TEST_F(CliTest, WatchOutlivesTheScheduler) {
  const Result submitted = Run({"submit", Spec("1-200", "{n}"), "--json"});
  const std::string job = submitted.json()["job_id"];
  Process watch({Program("tiltshift"), "watch", job, "--scheduler", address_}, folder_);
  ASSERT_TRUE(tests::WaitFor([&] { return !watch.Errors().empty(); }, kLongMs));
  scheduler_->Signal(SIGKILL);
  scheduler_->Wait(kLongMs);
  StartScheduler();
  StartWorker();
  EXPECT_EQ(watch.Wait(kLongMs), 0) << watch.Errors();
  EXPECT_THAT(watch.Errors(), HasSubstr("done: 200 of 200 pictures"));
}

TEST_F(CliTest, WatchSaysWhyNothingComes) {
  const Result submitted = Run({"submit", Spec("1-3", "{n}")});
  Process watch({Program("tiltshift"), "watch",
                 submitted.output.substr(0, submitted.output.find(':')), "--scheduler", address_},
                folder_);
  EXPECT_TRUE(tests::WaitFor(
      [&] { return watch.Errors().find("No worker is connected") != std::string::npos; }, kLongMs))
      << watch.Errors();
  StartWorker();
  EXPECT_EQ(watch.Wait(kLongMs), 0) << watch.Errors();
}

TEST_F(CliTest, CancelListStatusWorkers) {
  const std::string spec = Spec("1-1000000", "{n}");
  const Result first = Run({"submit", spec, "--json", "--request-id", "once"});
  const std::string job = first.json()["job_id"];
  EXPECT_EQ(Run({"submit", spec, "--json", "--request-id", "once"}).json()["job_id"], job);
  EXPECT_EQ(Run({"list", "--json"}).json()["jobs"].size(), 1u);
  EXPECT_THAT(Run({"cancel", job}).output, HasSubstr("cancelled: 0 of 1,000,000 pictures"));
  EXPECT_EQ(Run({"status", job, "--json"}).json()["state"], "JOB_STATE_CANCELLED");
  EXPECT_EQ(Run({"watch", job}).code, 4);
  EXPECT_EQ(Run({"workers", "--json"}).json()["workers"].size(), 0u);
}

TEST_F(CliTest, ErrorsSayWhatAndExitCodesTellThemApart) {
  const Result unknown = Run({"status", "j0123456789abcde"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.errors, HasSubstr("j0123456789abcde"));
  EXPECT_EQ(Run({"plan", folder_ + "/none.yaml"}, /*farm=*/false).code, 2);
  EXPECT_EQ(Run({"plan", Spec("5-1", "{n}")}, /*farm=*/false).code, 2);
  const Result misspelt = Run({"statu"}, /*farm=*/false);
  EXPECT_EQ(misspelt.code, 2);
  EXPECT_THAT(misspelt.errors, HasSubstr("there is no command statu; the commands are render, "));
  EXPECT_EQ(Run({}, /*farm=*/false).code, 2);
  EXPECT_EQ(Run({"--help"}, /*farm=*/false).code, 0);
  const std::string job = Rendered("1-3");
  ASSERT_TRUE(WriteFileAtomic(folder_ + "/file", "", IfPresent::kReplace).ok());
  const Result blocked = Run({"get", job, "--out", folder_ + "/file/out"});
  EXPECT_EQ(blocked.code, 5) << blocked.errors;
  EXPECT_THAT(blocked.errors, HasSubstr(folder_ + "/file/out"));
}

}  // namespace
}  // namespace tiltshift::cli
