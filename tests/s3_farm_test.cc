// A whole farm whose blobs are in S3: scheduler, worker and command against a real S3 server; and a
// scheduler whose store stands still.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "base/file.h"
#include "base/hash.h"
#include "proto/farm.grpc.pb.h"
#include "store/blob_store.h"
#include "tests/support/folder_test.h"
#include "tests/support/redis_server.h"
#include "tests/support/s3_server.h"
#include "tests/support/scheduler_process.h"
#include "tests/support/scripted_http.h"

namespace tiltshift::tests {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kLongMs = 60'000;
constexpr char kWhere[] = "s3://farm/tilt";

class S3FarmTest : public FolderTest {
 protected:
  void SetUp() override {
    logs_ = folder_ + "/logs";
    fs::create_directories(logs_);
  }
  void ServeS3(std::vector<std::string> options = {}) {
    s3_ = std::make_unique<S3Server>(folder_, std::move(options));
    s3_->SetEnvironment();
  }
  // Returns when it serves.
  void StartScheduler() {
    scheduler_.reset();
    scheduler_ = std::make_unique<SchedulerProcess>(logs_, redis_->address(),
                                                    std::vector<std::string>{"--blobs", kWhere});
    channel_ = grpc::CreateChannel(scheduler_->address(), grpc::InsecureChannelCredentials());
    ASSERT_TRUE(channel_->WaitForConnected(Soon(20))) << scheduler_->process().Output();
  }
  static std::chrono::system_clock::time_point Soon(int seconds) {
    return std::chrono::system_clock::now() + std::chrono::seconds(seconds);
  }
  std::string Spec(const std::string& range) {
    const std::string path = folder_ + "/spec.yaml";
    EXPECT_TRUE(WriteFileAtomic(path,
                                absl::StrCat("name: numbers\nmodel: diorama\nprompt: number {n}\n"
                                             "axes: {n: {range: ",
                                             range, "}}\noutput: {name: \"no {n}\"}\n"),
                                IfPresent::kReplace)
                    .ok());
    return path;
  }
  // What the command printed; it must succeed.
  std::string Command(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), Program("tiltshift"));
    arguments.insert(arguments.end(), {"--scheduler", scheduler_->address()});
    Process process(arguments, logs_);
    EXPECT_EQ(process.Wait(kLongMs), 0) << process.Errors();
    return process.Output();
  }

  std::string logs_;
  std::unique_ptr<S3Server> s3_;
  std::unique_ptr<RedisServer> redis_;
  std::unique_ptr<SchedulerProcess> scheduler_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(S3FarmTest, FromSubmissionToPictures) {
  if (!S3Server::Missing().empty()) GTEST_SKIP() << S3Server::Missing();
  ServeS3({"--auth"});
  redis_ = std::make_unique<RedisServer>(folder_);
  StartScheduler();
  Process worker({Program("tiltshift-worker"), "--scheduler", scheduler_->address(), "--blobs",
                  kWhere, "--render", "noop", "--slots", "4"},
                 logs_);
  const std::string submitted = Command({"submit", Spec("1-60"), "--watch", "--json"});
  const std::string job =
      nlohmann::json::parse(submitted.substr(0, submitted.find('\n')))["job_id"];
  StartScheduler();  // another process reads what this one has stored
  const std::string out = folder_ + "/out";
  EXPECT_EQ(nlohmann::json::parse(Command({"get", job, "--out", out, "--json"}))["fetched"], 60);
  std::istringstream manifest(*ReadFile(out + "/manifest.jsonl"));
  int pictures = 0;
  for (std::string line; std::getline(manifest, line); ++pictures) {
    const auto info = nlohmann::json::parse(line);
    EXPECT_EQ(info["sha256"], Sha256Hex(*ReadFile(out + "/" + std::string(info["name"]))));
  }
  EXPECT_EQ(pictures, 60);

  const auto blobs = store::OpenBlobStore({.where = kWhere});
  ASSERT_TRUE(blobs.ok()) << blobs.status();
  EXPECT_EQ((*blobs)->List("jobs/" + job + "/outputs/")->size(), 60u);
  EXPECT_TRUE(*(*blobs)->Exists("jobs/" + job + "/spec.binpb"));
  EXPECT_FALSE(fs::exists("s3:"));
  worker.Signal(SIGTERM);
  EXPECT_EQ(worker.Wait(kLongMs), 0);
  int logs = 0;
  for (const auto& entry : fs::directory_iterator(logs_)) {
    EXPECT_THAT(*ReadFile(entry.path()), Not(HasSubstr(s3_->secret_key()))) << entry.path();
    EXPECT_THAT(*ReadFile(entry.path()), Not(HasSubstr(s3_->access_key()))) << entry.path();
    ++logs;
  }
  EXPECT_GE(logs, 8);
}

TEST_F(S3FarmTest, AStoreThatCannotBeUsedEndsTheProcess) {
  if (!S3Server::Missing().empty()) GTEST_SKIP() << S3Server::Missing();
  ServeS3();
  for (const char* name : {"tiltshift-scheduler", "tiltshift-worker"}) {
    Process process({Program(name), "--blobs", "s3://nowhere/x"}, logs_);
    EXPECT_EQ(process.Wait(kLongMs), 1);
    EXPECT_THAT(process.Output(), HasSubstr("the blob store s3://nowhere/x at " + s3_->endpoint() +
                                            " can't be used: "));
    EXPECT_THAT(process.Output(), HasSubstr("make the bucket, or name another in --blobs"));
  }
}

// The private farm of `render` has its blobs in its folder, whatever that is called.
TEST_F(S3FarmTest, RenderKeepsFiles) {
  if (!S3Server::Missing().empty()) GTEST_SKIP() << S3Server::Missing();
  ServeS3();
  Process render({"sh", "-c",
                  "cd " + folder_ + " && exec " + Program("tiltshift") + " render " + Spec("1-5") +
                      " --out s3://farm/tilt --render noop --no-sheet"},
                 logs_);
  ASSERT_EQ(render.Wait(kLongMs), 0) << render.Errors();
  const std::string out = folder_ + "/s3:/farm/tilt";
  EXPECT_TRUE(fs::exists(out + "/no 5.png"));
  EXPECT_TRUE(fs::exists(out + "/.tiltshift/blobs/jobs"));
  const auto blobs = store::OpenBlobStore({.where = "s3://farm"});
  ASSERT_TRUE(blobs.ok()) << blobs.status();
  EXPECT_THAT(*(*blobs)->List("tilt/"), ::testing::IsEmpty());
}

// Submissions wait for the store; nobody else waits for them, and the process can go.
TEST_F(S3FarmTest, AStoreThatStandsStillHoldsUpNobodyElse) {
  std::atomic<int> stalled{0};
  ScriptedHttp store([&](const std::string& request) -> ScriptedHttp::Reply {
    if (request.find("list-type=2") != std::string::npos)
      return ScriptedHttp::Answer(200, "<ListBucketResult></ListBucketResult>");
    if (request.find("spec.binpb") == std::string::npos)
      return ScriptedHttp::Answer(request.substr(0, 3) == "PUT" ? 412 : 200);
    ++stalled;
    return {.stall = true};
  });
  setenv("AWS_ENDPOINT_URL", store.endpoint().c_str(), 1);
  setenv("AWS_ACCESS_KEY_ID", "AKIATEST", 1);
  setenv("AWS_SECRET_ACCESS_KEY", "hush", 1);
  setenv("no_proxy", "127.0.0.1", 1);
  const auto opened = store::OpenBlobStore({.where = kWhere});
  if (absl::IsUnimplemented(opened.status())) GTEST_SKIP() << opened.status().message();
  redis_ = std::make_unique<RedisServer>(folder_);
  StartScheduler();
  auto farm = v1::Farm::NewStub(channel_);
  std::vector<std::thread> callers;
  std::atomic<int> unavailable{0};
  constexpr int kCallers = 40;  // more than the scheduler has threads for them
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&] {
      grpc::ClientContext context;
      v1::SubmitRequest request;
      request.mutable_spec()->set_name("waits");
      request.mutable_spec()->set_model("diorama");
      request.mutable_spec()->set_prompt("a robot");
      v1::SubmitResponse response;
      const grpc::Status status = farm->Submit(&context, request, &response);
      unavailable += status.error_code() == grpc::StatusCode::UNAVAILABLE;
    });
  }
  EXPECT_TRUE(WaitFor([&] { return stalled == 16; }, 10'000)) << stalled;
  for (int i = 0; i < 20; ++i) {
    grpc::ClientContext context;
    context.set_deadline(Soon(15));  // less than the store is given
    v1::ListJobsResponse jobs;
    EXPECT_TRUE(farm->ListJobs(&context, v1::ListJobsRequest(), &jobs).ok());
  }
  scheduler_->process().Signal(SIGTERM);
  EXPECT_EQ(scheduler_->process().Wait(10'000), 0) << scheduler_->process().Output();
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(unavailable, kCallers);
}

}  // namespace
}  // namespace tiltshift::tests
