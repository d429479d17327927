#include "cli/client.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <thread>

#include "absl/strings/str_split.h"
#include "proto/channel.h"

namespace tiltshift::cli {
namespace {

constexpr auto kDeadline = std::chrono::seconds(20);
constexpr int kRetryMs = 200;
constexpr auto kLeastWait = std::chrono::milliseconds(50);

}  // namespace

FarmClient::FarmClient(const std::string& schedulers) {
  for (const absl::string_view part : absl::StrSplit(schedulers, ',', absl::SkipEmpty())) {
    const std::string address(part);
    auto channel = ConnectTo(address);
    stubs_.push_back({address, channel, v1::Farm::NewStub(channel)});
  }
  if (stubs_.empty()) {
    auto nowhere = grpc::CreateChannel("", grpc::InsecureChannelCredentials());
    stubs_.push_back({"", nowhere, v1::Farm::NewStub(nowhere)});
  }
}

void FarmClient::WaitForConnection(int timeout_ms) {
  const auto start = std::chrono::system_clock::now();
  if (stubs_[current_].channel->WaitForConnected(start + std::chrono::milliseconds(timeout_ms))) {
    std::this_thread::sleep_until(
        start + kLeastWait);  // it answers, and says no: don't ask in a tight loop
  }
}

absl::Status FarmClient::Explain(const grpc::Status& status) const {
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  if (code == absl::StatusCode::kUnavailable || code == absl::StatusCode::kDeadlineExceeded) {
    return absl::Status(
        code, absl::StrCat("the scheduler at ", stubs_[current_].address, " does not answer (",
                           status.error_message(), "); is it running, and is --scheduler right?"));
  }
  return absl::Status(code, status.error_message());
}

template <typename Request, typename Response>
absl::StatusOr<Response> FarmClient::Call(
    grpc::Status (v1::Farm::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
    const Request& request) {
  grpc::Status status;
  for (size_t tried = 0; tried < stubs_.size(); ++tried) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kDeadline);
    Response response;
    status = (stub().*method)(&context, request, &response);
    if (status.ok()) return response;
    if (status.error_code() != grpc::StatusCode::UNAVAILABLE) break;
    if (tried + 1 < stubs_.size()) current_ = (current_ + 1) % stubs_.size();
  }
  return Explain(status);
}

absl::StatusOr<v1::SubmitResponse> FarmClient::Submit(const v1::JobSpec& spec,
                                                      const std::string& request_id) {
  v1::SubmitRequest request;
  *request.mutable_spec() = spec;
  request.set_request_id(request_id);
  return Call(&v1::Farm::Stub::Submit, request);
}

absl::StatusOr<v1::Job> FarmClient::GetJob(const std::string& job_id) {
  v1::GetJobRequest request;
  request.set_job_id(job_id);
  return Call(&v1::Farm::Stub::GetJob, request);
}

absl::StatusOr<v1::ListJobsResponse> FarmClient::ListJobs(uint32_t limit) {
  v1::ListJobsRequest request;
  request.set_limit(limit);
  return Call(&v1::Farm::Stub::ListJobs, request);
}

absl::StatusOr<v1::Job> FarmClient::CancelJob(const std::string& job_id) {
  v1::CancelJobRequest request;
  request.set_job_id(job_id);
  return Call(&v1::Farm::Stub::CancelJob, request);
}

absl::StatusOr<v1::Job> FarmClient::PauseJob(const std::string& job_id) {
  v1::PauseJobRequest request;
  request.set_job_id(job_id);
  return Call(&v1::Farm::Stub::PauseJob, request);
}

absl::StatusOr<v1::Job> FarmClient::ResumeJob(const std::string& job_id) {
  v1::ResumeJobRequest request;
  request.set_job_id(job_id);
  return Call(&v1::Farm::Stub::ResumeJob, request);
}

absl::StatusOr<v1::Job> FarmClient::RetryFailed(const std::string& job_id) {
  v1::RetryFailedRequest request;
  request.set_job_id(job_id);
  return Call(&v1::Farm::Stub::RetryFailed, request);
}

absl::StatusOr<v1::Job> FarmClient::SetPriority(const std::string& job_id, int32_t priority) {
  v1::SetPriorityRequest request;
  request.set_job_id(job_id);
  request.set_priority(priority);
  return Call(&v1::Farm::Stub::SetPriority, request);
}

absl::StatusOr<v1::ExplainResponse> FarmClient::Explain(const v1::ExplainRequest& request) {
  return Call(&v1::Farm::Stub::Explain, request);
}

absl::StatusOr<v1::ListWorkersResponse> FarmClient::ListWorkers() {
  return Call(&v1::Farm::Stub::ListWorkers, v1::ListWorkersRequest());
}

absl::Status FarmClient::Watch(const std::string& job_id, int patience_ms,
                               const std::function<bool(const v1::Job&)>& see) {
  using Clock = std::chrono::steady_clock;
  v1::GetJobRequest request;
  request.set_job_id(job_id);
  for (auto heard = Clock::now();;) {
    grpc::ClientContext context;
    auto reader = stub().WatchJob(&context, request);
    v1::Job job;
    while (reader->Read(&job)) {
      heard = Clock::now();
      if (!see(job)) {
        context.TryCancel();
        reader->Finish();
        return absl::CancelledError("interrupted");
      }
    }
    const grpc::Status status = reader->Finish();
    if (status.ok() && job.ended_unix_ms() != 0) return absl::OkStatus();
    const bool passing = status.ok() || status.error_code() == grpc::StatusCode::UNAVAILABLE ||
                         status.error_code() == grpc::StatusCode::CANCELLED;
    if (!passing || Clock::now() - heard > std::chrono::milliseconds(patience_ms))
      return Explain(status);
    if (!see(job)) return absl::CancelledError("interrupted");
    current_ = (current_ + 1) % stubs_.size();
    WaitForConnection(kRetryMs);
  }
}

absl::Status FarmClient::ReadOutputs(
    const v1::ReadOutputsRequest& request,
    const std::function<absl::Status(const v1::OutputInfo&)>& start,
    const std::function<absl::Status(const std::string&)>& data) {
  grpc::ClientContext context;
  auto reader = stub().ReadOutputs(&context, request);
  v1::OutputPiece piece;
  while (reader->Read(&piece)) {
    const absl::Status taken = piece.has_info() ? start(piece.info()) : data(piece.data());
    if (!taken.ok()) {
      context.TryCancel();
      reader->Finish();
      return taken;
    }
  }
  const grpc::Status status = reader->Finish();
  return status.ok() ? absl::OkStatus() : Explain(status);
}

}  // namespace tiltshift::cli
