// Every bad input of the public service, against a real scheduler over a real Redis: each gets the
// right status and a message that says what to do, and the scheduler goes on serving.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "proto/channel.h"
#include "tests/support/folder_test.h"
#include "tests/support/redis_server.h"
#include "tests/support/scheduler_process.h"
#include "tests/support/services_by_hand.h"

namespace tiltshift::tests {
namespace {

using grpc::StatusCode;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class HostileCallsTest : public FolderTest {
 protected:
  void SetUp() override { ASSERT_TRUE(scheduler_.Leads()) << scheduler_.process().Output(); }
  // It lives, has complained of nothing, and takes a job.
  void TearDown() override {
    EXPECT_TRUE(scheduler_.process().Running()) << scheduler_.process().Errors();
    EXPECT_TRUE(Submit(Spec()).ok());
  }

  template <typename Request, typename Response>
  using Unary = grpc::Status (v1::Farm::Stub::*)(grpc::ClientContext*, const Request&, Response*);
  template <typename Request, typename Response>
  grpc::Status Call(Unary<Request, Response> method, const Request& request, Response* response) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    return ((*farm_).*method)(&context, request, response);
  }
  grpc::Status Submit(const v1::JobSpec& spec, const std::string& request_id = "") {
    v1::SubmitRequest request;
    *request.mutable_spec() = spec;
    request.set_request_id(request_id);
    const grpc::Status status = Call(&v1::Farm::Stub::Submit, request, &submitted_);
    return status;
  }
  std::string NewJob() {
    EXPECT_TRUE(Submit(Spec()).ok());
    return submitted_.job_id();
  }
  // A call that names a job and answers with it.
  template <typename Request>
  grpc::Status Of(Unary<Request, v1::Job> method, const std::string& id) {
    Request request;
    request.set_job_id(id);
    return Call(method, request, &job_);
  }
  grpc::Status SetPriority(const std::string& id, int32_t priority) {
    v1::SetPriorityRequest request;
    request.set_job_id(id);
    request.set_priority(priority);
    return Call(&v1::Farm::Stub::SetPriority, request, &job_);
  }
  grpc::Status Explain(const std::function<void(v1::ExplainRequest&)>& fill) {
    v1::ExplainRequest request;
    fill(request);
    v1::ExplainResponse response;
    return Call(&v1::Farm::Stub::Explain, request, &response);
  }
  grpc::Status Read(const std::string& id, uint64_t first, uint64_t count) {
    grpc::ClientContext context;
    v1::ReadOutputsRequest request;
    request.set_job_id(id);
    request.mutable_range()->set_first(first);
    request.mutable_range()->set_count(count);
    v1::OutputPiece piece;
    auto reader = farm_->ReadOutputs(&context, request);
    while (reader->Read(&piece)) {
    }
    return reader->Finish();
  }
  grpc::Status Watch(const std::string& id) {
    grpc::ClientContext context;
    v1::GetJobRequest request;
    request.set_job_id(id);
    auto reader = farm_->WatchJob(&context, request);
    while (reader->Read(&job_)) {
    }
    return reader->Finish();
  }
  grpc::Status Append(const std::string& id, const v1::Entries& entries = {}) {
    v1::AppendEntriesRequest request;
    request.set_job_id(id);
    *request.mutable_entries() = entries;
    return Call(&v1::Farm::Stub::AppendEntries, request, &submitted_);
  }
  grpc::Status Entries(const std::string& id, uint64_t first, uint32_t limit) {
    v1::ListEntriesRequest request;
    request.set_job_id(id);
    request.set_first(first);
    request.set_limit(limit);
    return Call(&v1::Farm::Stub::ListEntries, request, &listed_);
  }
  // Each call that names a job, with `id`.
  std::vector<grpc::Status> EveryCallOf(const std::string& id) {
    return {Of(&v1::Farm::Stub::GetJob, id),
            Of(&v1::Farm::Stub::CancelJob, id),
            Of(&v1::Farm::Stub::PauseJob, id),
            Of(&v1::Farm::Stub::ResumeJob, id),
            Of(&v1::Farm::Stub::RetryFailed, id),
            SetPriority(id, 1),
            Append(id),
            Entries(id, 0, 0),
            Watch(id),
            Read(id, 0, 0)};
  }
  uint64_t Committed(const std::string& id) {
    EXPECT_TRUE(Of(&v1::Farm::Stub::GetJob, id).ok());
    return job_.committed();
  }
  RedisServer redis_{folder_};
  SchedulerProcess scheduler_{folder_, redis_.address()};
  std::shared_ptr<grpc::Channel> channel_ = ConnectTo(scheduler_.address());
  std::unique_ptr<v1::Farm::Stub> farm_ = v1::Farm::NewStub(channel_);
  v1::SubmitResponse submitted_;
  v1::ListEntriesResponse listed_;
  v1::Job job_;
};

TEST_F(HostileCallsTest, SpecsThatAreTooLargeOrWrong) {
  const auto changed = [&](const std::function<void(v1::JobSpec&)>& change) {
    v1::JobSpec spec = Spec();
    change(spec);
    return Submit(spec);
  };
  const auto invalid = StatusCode::INVALID_ARGUMENT;
  EXPECT_THAT(Submit(v1::JobSpec()), Refused(invalid, HasSubstr(":")));
  EXPECT_THAT(changed([](auto& s) { s.set_name(std::string(65, 'n')); }),
              Refused(invalid, HasSubstr("name: longer than 64 bytes")));
  EXPECT_THAT(changed([](auto& s) { s.set_prompt(std::string(8'193, 'p')); }),
              Refused(invalid, HasSubstr("prompt: longer than 8192 bytes")));
  EXPECT_THAT(changed([](auto& s) { s.set_prompt("{" + std::string(8'000, 'x') + "}"); }),
              Refused(invalid, StartsWith("prompt")));
  EXPECT_THAT(changed([](auto& s) { s.set_prompt(std::string("a\0b", 3)); }),
              Refused(invalid, HasSubstr("prompt: holds a zero byte")));
  EXPECT_THAT(changed([](auto& s) { s.set_negative_prompt(std::string(8'193, 'p')); }),
              Refused(invalid, StartsWith("negative_prompt: longer than")));
  EXPECT_THAT(changed([](auto& s) { s.set_tenant(std::string(65, 't')); }),
              Refused(invalid, StartsWith("tenant")));
  EXPECT_THAT(changed([](auto& s) { s.set_tenant("a\nb"); }),
              Refused(invalid, StartsWith("tenant")));
  EXPECT_THAT(changed([](auto& s) { s.set_model("../models"); }),
              Refused(invalid, StartsWith("model")));
  EXPECT_THAT(changed([](auto& s) { s.set_combine(std::string(4'097, '(')); }),
              Refused(invalid, StartsWith("combine: longer than")));
  EXPECT_THAT(changed([](auto& s) { s.set_combine(std::string(4'000, '(') + "n"); }),
              Refused(invalid, StartsWith("combine")));
  EXPECT_THAT(changed([](auto& s) { s.mutable_output()->set_name("../../etc/{n}"); }),
              Refused(invalid, StartsWith("output.name")));
  EXPECT_THAT(changed([](auto& s) { s.mutable_axes(0)->set_range(std::string(4'097, '1')); }),
              Refused(invalid, StartsWith("axes.n: the range is longer than")));
  EXPECT_THAT(changed([](auto& s) { s.mutable_axes(0)->set_name(std::string(65, 'a')); }),
              Refused(invalid, StartsWith("axes")));
  EXPECT_THAT(changed([](auto& s) {
                for (int i = 0; i < 64; ++i) *s.add_axes() = s.axes(0);
              }),
              Refused(invalid, HasSubstr("axes: more than 64")));
  EXPECT_THAT(changed([](auto& s) {
                for (int i = 0; i < 100'001; ++i)
                  s.mutable_axes(0)->mutable_list()->add_values("x");
              }),
              Refused(invalid, HasSubstr("more than 100000 values")));
  EXPECT_THAT(changed([](auto& s) {
                for (int i = 0; i < 4'000; ++i)
                  s.mutable_axes(0)->mutable_list()->add_values(std::to_string(i) +
                                                                std::string(1'000, 'x'));
              }),
              Refused(invalid, HasSubstr("the limit is 3500000")));
  EXPECT_THAT(changed([](auto& s) { s.mutable_render()->set_width(100'000); }),
              Refused(invalid, StartsWith("render.width")));
  EXPECT_THAT(changed([](auto& s) { s.mutable_render()->set_clip_skip(31); }),
              Refused(invalid, StartsWith("render.clip_skip: 31 is more than 30")));
  EXPECT_THAT(changed([](auto& s) { s.mutable_render()->set_guidance_scale(std::nan("")); }),
              Refused(invalid, StartsWith("render.guidance_scale")));
  for (const int32_t priority : {101, -101, INT32_MAX, INT32_MIN}) {
    EXPECT_THAT(changed([&](auto& s) { s.set_priority(priority); }),
                Refused(invalid, HasSubstr("is not from -100 to 100")));
  }
  EXPECT_THAT(changed([](auto& s) { s.set_deadline_unix_ms(-1); }),
              Refused(invalid, StartsWith("deadline")));
  EXPECT_TRUE(changed([](auto& s) { s.set_deadline_unix_ms(INT64_MAX); }).ok());
  EXPECT_THAT(changed([](auto& s) { s.mutable_axes(0)->set_range("1-4294967297"); }),
              Refused(StatusCode::OUT_OF_RANGE, HasSubstr("split it, or leave axes out")));
}

TEST_F(HostileCallsTest, MessagesBeyondWhatGrpcTakes) {
  v1::JobSpec spec = Spec();
  spec.set_prompt(std::string(5 << 20, 'p'));
  EXPECT_THAT(Submit(spec), Refused(StatusCode::RESOURCE_EXHAUSTED, HasSubstr("larger than max")));
  // An error that quotes what was sent stays small enough for a header.
  const std::string id(100, 'x');
  EXPECT_THAT(Of(&v1::Farm::Stub::GetJob, id),
              Refused(StatusCode::NOT_FOUND, HasSubstr("there is no job \"" + id)));
}

TEST_F(HostileCallsTest, JobsThatAreNone) {
  for (const grpc::Status& status : EveryCallOf("nothere"))
    EXPECT_THAT(status, Refused(StatusCode::NOT_FOUND,
                                "there is no job \"nothere\"; `tiltshift "
                                "list` shows the jobs"));
  for (const grpc::Status& status : EveryCallOf(""))
    EXPECT_THAT(status, Refused(StatusCode::INVALID_ARGUMENT, "job_id: is empty; name a job"));
  for (const grpc::Status& status : EveryCallOf(std::string(1 << 20, 'j')))
    EXPECT_THAT(status, Refused(StatusCode::INVALID_ARGUMENT, "job_id: longer than 128 bytes"));
  for (const grpc::Status& status : EveryCallOf("a\r\nb\x1b[2J"))
    EXPECT_THAT(status, Refused(StatusCode::INVALID_ARGUMENT, "job_id: holds a control character"));
  for (const grpc::Status& status : EveryCallOf("../../etc"))
    EXPECT_THAT(status, Refused(StatusCode::NOT_FOUND, HasSubstr("there is no job")));
}

// A string that is not UTF-8 is no message of these services.
TEST_F(HostileCallsTest, StringsThatAreNotUtf8) {
  grpc::GenericStub stub(channel_);
  const grpc::Slice slice(std::string("\x0a\x02\xff\xfe"));  // job_id, two bytes
  const grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer response;
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  auto call = stub.PrepareUnaryCall(&context, "/tiltshift.v1.Farm/GetJob", request, &queue);
  call->StartCall();
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_THAT(status, Refused(StatusCode::INVALID_ARGUMENT,
                              "the bytes of the message are no tiltshift.v1.GetJobRequest"));
}

TEST_F(HostileCallsTest, NumbersOutOfRange) {
  const std::string job = NewJob();
  for (const int32_t priority : {101, -101, INT32_MAX, INT32_MIN}) {
    EXPECT_THAT(SetPriority(job, priority),
                Refused(StatusCode::INVALID_ARGUMENT, HasSubstr("is not from -100 to 100")));
  }
  v1::ListJobsRequest list;
  v1::ListJobsResponse jobs;
  for (const uint32_t limit : {1'001u, UINT32_MAX}) {
    list.set_limit(limit);
    EXPECT_THAT(Call(&v1::Farm::Stub::ListJobs, list, &jobs),
                Refused(StatusCode::INVALID_ARGUMENT, "limit: more than 1000"));
  }
  for (const uint64_t first : {kVariants + 1, kMost})
    EXPECT_THAT(Read(job, first, 1),
                Refused(StatusCode::OUT_OF_RANGE,
                        HasSubstr("has 100 variants, no " + std::to_string(first))));
  EXPECT_TRUE(Read(job, kVariants, 0).ok());
  EXPECT_TRUE(Read(job, 1, kMost).ok());  // what there is of it
  for (const uint64_t index : {kVariants, kMost}) {
    EXPECT_THAT(Explain([&](auto& request) {
                  request.mutable_variant()->set_job_id(job);
                  request.mutable_variant()->set_index(index);
                }),
                Refused(StatusCode::NOT_FOUND, HasSubstr("has variants 0 to 99")));
  }
}

TEST_F(HostileCallsTest, ExplanationsOfNothing) {
  const auto invalid = StatusCode::INVALID_ARGUMENT;
  EXPECT_THAT(Explain([](auto&) {}), Refused(invalid, "name a job, a variant or a worker"));
  EXPECT_THAT(Explain([](auto& r) { r.set_job_id("nothere"); }),
              Refused(StatusCode::NOT_FOUND, HasSubstr("nothere")));
  EXPECT_THAT(Explain([](auto& r) { r.set_worker_id("nobody"); }),
              Refused(StatusCode::NOT_FOUND, HasSubstr("`tiltshift workers` shows them")));
  EXPECT_THAT(Explain([](auto& r) { r.set_worker_id(std::string(100'000, 'w')); }),
              Refused(invalid, "worker_id: longer than 128 bytes"));
  EXPECT_THAT(Explain([](auto& r) { r.mutable_variant()->set_job_id("a\nb"); }),
              Refused(invalid, "variant.job_id: holds a control character"));
}

TEST_F(HostileCallsTest, StatesThatAllowIt) {
  const std::string cancelled = NewJob();
  EXPECT_TRUE(Of(&v1::Farm::Stub::CancelJob, cancelled).ok());
  EXPECT_EQ(job_.state(), v1::JOB_STATE_CANCELLED);
  EXPECT_TRUE(Of(&v1::Farm::Stub::CancelJob, cancelled).ok());
  EXPECT_EQ(job_.state(), v1::JOB_STATE_CANCELLED);
  EXPECT_THAT(Of(&v1::Farm::Stub::PauseJob, cancelled),
              Refused(StatusCode::FAILED_PRECONDITION, "job " + cancelled + " has ended"));
  EXPECT_THAT(Of(&v1::Farm::Stub::RetryFailed, cancelled),
              Refused(StatusCode::FAILED_PRECONDITION, "job " + cancelled + " was cancelled"));

  const std::string paused = NewJob();
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(Of(&v1::Farm::Stub::PauseJob, paused).ok());
    EXPECT_EQ(job_.state(), v1::JOB_STATE_PAUSED);
  }
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(Of(&v1::Farm::Stub::ResumeJob, paused).ok());
    EXPECT_EQ(job_.state(), v1::JOB_STATE_QUEUED);
  }
  EXPECT_TRUE(Of(&v1::Farm::Stub::RetryFailed, paused).ok());  // nothing failed: nothing happens
  EXPECT_EQ(job_.state(), v1::JOB_STATE_QUEUED);

  Session session(channel_, "w", 1);
  while (Committed(paused) < kVariants) {
    session.Turn(2, 1, {session.Done()});
    session.lease.Clear();
    session.Acknowledged(2);
    session.Turn(3, 1, {});
    session.Acknowledged(3);
  }
  EXPECT_EQ(job_.state(), v1::JOB_STATE_DONE);
  EXPECT_TRUE(Of(&v1::Farm::Stub::CancelJob, paused).ok());
  EXPECT_EQ(job_.state(), v1::JOB_STATE_DONE);
  EXPECT_TRUE(Of(&v1::Farm::Stub::RetryFailed, paused).ok());
  EXPECT_EQ(job_.state(), v1::JOB_STATE_DONE);
  EXPECT_THAT(Of(&v1::Farm::Stub::PauseJob, paused),
              Refused(StatusCode::FAILED_PRECONDITION, "job " + paused + " has ended"));
}

TEST_F(HostileCallsTest, RequestsThatAreRepeated) {
  ASSERT_TRUE(Submit(Spec(), "once").ok());
  const std::string job = submitted_.job_id();
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(Submit(Spec(), "once").ok());
    EXPECT_EQ(submitted_.job_id(), job);
  }
  EXPECT_THAT(Submit(Spec("another {n}"), "once"),
              Refused(StatusCode::ALREADY_EXISTS,
                      "request_id: it was used for another spec; choose a new one"));
  v1::ListJobsResponse jobs;
  ASSERT_TRUE(Call(&v1::Farm::Stub::ListJobs, v1::ListJobsRequest(), &jobs).ok());
  EXPECT_EQ(jobs.jobs_size(), 1);
  EXPECT_THAT(Submit(Spec(), std::string(65, 'r')),
              Refused(StatusCode::INVALID_ARGUMENT, "request_id: longer than 64 bytes"));
  EXPECT_THAT(Submit(Spec(), "a\nb"),
              Refused(StatusCode::INVALID_ARGUMENT, "request_id: holds a control character"));
}

}  // namespace
}  // namespace tiltshift::tests
