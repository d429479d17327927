// What a scheduler tells Prometheus, read from the real process after real calls.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <regex>

#include "base/file.h"
#include "proto/farm.grpc.pb.h"
#include "proto/worker.grpc.pb.h"
#include "tests/support/redis_server.h"
#include "tests/support/scheduler_process.h"
#include "tests/support/scrape.h"

namespace tiltshift::tests {
namespace {

constexpr int kPatienceMs = 20'000;

class SchedulerMetricsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string folder = FreshFolder();
    redis_ = std::make_unique<RedisServer>(folder);
    scheduler_ = std::make_unique<SchedulerProcess>(
        folder, redis_->address(),
        std::vector<std::string>{"--metrics", "127.0.0.1:" + std::to_string(port_)});
    channel_ = grpc::CreateChannel(scheduler_->address(), grpc::InsecureChannelCredentials());
    ASSERT_TRUE(scheduler_->Leads() && channel_->WaitForConnected(std::chrono::system_clock::now() +
                                                                  std::chrono::seconds(20)))
        << scheduler_->process().Output();
    farm_ = v1::Farm::NewStub(channel_);
  }

  std::string Submit() {
    grpc::ClientContext context;
    v1::SubmitRequest request;
    request.mutable_spec()->set_name("test");
    request.mutable_spec()->set_model("diorama");
    request.mutable_spec()->set_prompt("x");
    v1::SubmitResponse response;
    EXPECT_TRUE(farm_->Submit(&context, request, &response).ok());
    return response.job_id();
  }
  // Leases a job of one variant and commits it.
  void Work() {
    grpc::ClientContext context;
    auto stub = v1::Workers::NewStub(channel_);
    auto stream = stub->Session(&context);
    v1::WorkerMessage message;
    message.mutable_hello()->set_worker_id("w");
    message.mutable_hello()->set_slots(1);
    message.mutable_hello()->set_protocol(1);
    stream->Write(message);
    message.mutable_turn()->set_turn(1);
    message.mutable_turn()->set_want_leases(1);
    stream->Write(message);
    v1::SchedulerMessage read;
    while (read.turn_ack().leases().empty() && stream->Read(&read)) {
    }
    const v1::Lease lease = read.turn_ack().leases(0);
    message.mutable_turn()->set_turn(2);
    message.mutable_turn()->set_want_leases(0);
    v1::Outcome& outcome = *message.mutable_turn()->add_outcomes();
    outcome.set_token(lease.token());
    outcome.set_job_id(lease.job_id());
    *outcome.add_committed() = lease.range();
    stream->Write(message);
    while (read.turn_ack().turn() != 2 && stream->Read(&read)) {
    }
    stream->WritesDone();
    while (stream->Read(&read)) {
    }
    EXPECT_TRUE(stream->Finish().ok());
  }
  void Operate(const std::string& waiting) {
    grpc::ClientContext pause_context, resume_context, retry_context, priority_context,
        explain_context;
    v1::Job job;
    v1::PauseJobRequest pause;
    pause.set_job_id(waiting);
    EXPECT_TRUE(farm_->PauseJob(&pause_context, pause, &job).ok());
    v1::ResumeJobRequest resume;
    resume.set_job_id(waiting);
    EXPECT_TRUE(farm_->ResumeJob(&resume_context, resume, &job).ok());
    v1::RetryFailedRequest retry;
    retry.set_job_id(waiting);
    EXPECT_TRUE(farm_->RetryFailed(&retry_context, retry, &job).ok());
    v1::SetPriorityRequest priority;
    priority.set_job_id(waiting);
    EXPECT_TRUE(farm_->SetPriority(&priority_context, priority, &job).ok());
    v1::ExplainRequest explain;
    explain.set_job_id(waiting);
    v1::ExplainResponse text;
    EXPECT_TRUE(farm_->Explain(&explain_context, explain, &text).ok());
  }
  // Its first variant's picture is not there: the worker here only says that it is.
  void LookAt(const std::string& done) {
    grpc::ClientContext list_context, picture_context;
    v1::ListVariantsRequest list;
    list.set_job_id(done);
    v1::ListVariantsResponse variants;
    EXPECT_TRUE(farm_->ListVariants(&list_context, list, &variants).ok());
    EXPECT_GT(variants.variants_size(), 0);
    v1::ReadPictureRequest picture;
    picture.set_job_id(done);
    v1::PicturePiece piece;
    auto pieces = farm_->ReadPicture(&picture_context, picture);
    EXPECT_FALSE(pieces->Read(&piece));
    EXPECT_FALSE(pieces->Finish().ok());
  }
  // A contest of two batches.
  void RunContest() {
    grpc::ClientContext submit_context, append_context, list_context, cancel_context;
    v1::SubmitRequest submit;
    submit.mutable_spec()->set_kind(v1::JOB_KIND_CONTEST);
    submit.mutable_spec()->set_name("contest");
    submit.mutable_spec()->set_model("diorama");
    submit.mutable_spec()->set_prompt("{id}");
    submit.mutable_entries()->add_columns("id");
    submit.mutable_entries()->add_entries()->add_values("a");
    v1::SubmitResponse contest;
    EXPECT_TRUE(farm_->Submit(&submit_context, submit, &contest).ok());
    v1::AppendEntriesRequest append;
    append.set_job_id(contest.job_id());
    append.mutable_entries()->add_columns("id");
    append.mutable_entries()->add_entries()->add_values("b");
    EXPECT_TRUE(farm_->AppendEntries(&append_context, append, &contest).ok());
    v1::ListEntriesRequest list;
    list.set_job_id(contest.job_id());
    v1::ListEntriesResponse entries;
    EXPECT_TRUE(farm_->ListEntries(&list_context, list, &entries).ok());
    v1::CancelJobRequest cancel;
    cancel.set_job_id(contest.job_id());
    v1::Job job;
    EXPECT_TRUE(farm_->CancelJob(&cancel_context, cancel, &job).ok());
  }
  // Each is refused, for this scheduler keeps no photos, and counted.
  void CallForPhotos() {
    grpc::ClientContext upload_context, forget_context, receipts_context, open_context;
    v1::UploadPhotoResponse uploaded;
    auto upload = farm_->UploadPhoto(&upload_context, &uploaded);
    upload->WritesDone();
    EXPECT_FALSE(upload->Finish().ok());
    v1::ForgetResponse forgotten;
    EXPECT_FALSE(farm_->Forget(&forget_context, {}, &forgotten).ok());
    v1::ListReceiptsResponse receipts;
    EXPECT_FALSE(farm_->ListReceipts(&receipts_context, {}, &receipts).ok());
    v1::OpenPhotoResponse opened;
    EXPECT_FALSE(v1::Workers::NewStub(channel_)->OpenPhoto(&open_context, {}, &opened).ok());
  }
  void CallEverythingElse(const std::string& done, const std::string& waiting) {
    v1::GetJobRequest get;
    get.set_job_id(done);
    v1::Job job;
    grpc::ClientContext get_context, watch_context, list_context, cancel_context, read_context,
        workers_context;
    EXPECT_TRUE(farm_->GetJob(&get_context, get, &job).ok());
    auto watch = farm_->WatchJob(&watch_context, get);
    while (watch->Read(&job)) {
    }
    EXPECT_TRUE(watch->Finish().ok());
    v1::ListJobsResponse jobs;
    EXPECT_TRUE(farm_->ListJobs(&list_context, {}, &jobs).ok());
    Operate(waiting);
    v1::CancelJobRequest cancel;
    cancel.set_job_id(waiting);
    EXPECT_TRUE(farm_->CancelJob(&cancel_context, cancel, &job).ok());
    v1::ReadOutputsRequest read;
    read.set_job_id(done);
    v1::OutputPiece piece;
    auto outputs = farm_->ReadOutputs(&read_context, read);
    while (outputs->Read(&piece)) {
    }
    EXPECT_TRUE(outputs->Finish().ok());
    v1::ListWorkersResponse workers;
    EXPECT_TRUE(farm_->ListWorkers(&workers_context, {}, &workers).ok());
  }
  // A call is counted when the server has let go of it, which its caller does not wait for.
  bool Reaches(const std::string& series, double least) {
    return WaitFor([&] { return Sample(Scrape(port_), series) >= least; }, kPatienceMs);
  }

  const int port_ = FreePort();
  std::unique_ptr<RedisServer> redis_;
  std::unique_ptr<SchedulerProcess> scheduler_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Farm::Stub> farm_;
};

TEST_F(SchedulerMetricsTest, EveryMethodAndEveryRedisFunctionIsTimed) {
  const std::string done = Submit();
  Work();
  CallEverythingElse(done, Submit());
  LookAt(done);
  RunContest();
  CallForPhotos();
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  for (const char* name : {"tiltshift.v1.Farm", "tiltshift.v1.Workers"}) {
    const auto* service = pool->FindServiceByName(name);
    ASSERT_NE(service, nullptr);
    for (int i = 0; i < service->method_count(); ++i) {
      const std::string method = service->method(i)->name();
      EXPECT_TRUE(Reaches("tiltshift_grpc_seconds_count{method=\"" + method + "\"}", 1)) << method;
    }
  }
  const std::string lua =
      *ReadFile(std::string(TILTSHIFT_SOURCE_DIR) + "/store/farm_functions.lua");
  const std::regex registered("register_function\\('([a-z_]+)'");
  int functions = 0;
  for (std::sregex_iterator it(lua.begin(), lua.end(), registered), end; it != end; ++it) {
    const std::string function = (*it)[1];
    ++functions;
    if (function == "ts_resign") continue;     // its last word: nobody can read it any more
    if (function == "ts_put_token") continue;  // with --auth on alone
    EXPECT_TRUE(Reaches("tiltshift_redis_seconds_count{function=\"" + function + "\"}", 1))
        << function;
  }
  EXPECT_EQ(functions, 9);
  EXPECT_TRUE(Reaches("tiltshift_redis_seconds_count{function=\"other\"}", 1));
}

TEST_F(SchedulerMetricsTest, JobsAreCountedWhereTheyAre) {
  const auto jobs = [](const std::string& state) {
    return "tiltshift_jobs{state=\"" + state + "\"}";
  };
  for (const char* state : {"queued", "running", "paused", "done", "failed", "cancelled"})
    EXPECT_EQ(Sample(Scrape(port_), jobs(state)), 0) << state;
  const std::string first = Submit(), second = Submit(), third = Submit();
  EXPECT_TRUE(Reaches(jobs("queued"), 3));
  Work();
  EXPECT_TRUE(Reaches(jobs("done"), 1));
  CallEverythingElse(first, third);  // cancels the third
  EXPECT_TRUE(Reaches(jobs("cancelled"), 1));
  const std::string text = Scrape(port_);
  EXPECT_EQ(Sample(text, jobs("queued")), 1);
  EXPECT_EQ(Sample(text, jobs("running")), 0);
  EXPECT_EQ(Sample(text, jobs("done")), 1);
  EXPECT_EQ(Sample(text, jobs("failed")), 0);
}

}  // namespace
}  // namespace tiltshift::tests
