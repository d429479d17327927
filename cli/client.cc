#include "cli/client.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "absl/strings/str_join.h"
#include "base/hash.h"
#include "base/log.h"

namespace tiltshift::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kElectionPatience = std::chrono::seconds(15);
constexpr auto kTroublePatience = std::chrono::seconds(3);
constexpr auto kUploadDeadline = std::chrono::seconds(120);
constexpr auto kBusyPatience = std::chrono::seconds(120);
constexpr auto kBusyWait = std::chrono::milliseconds(500);
constexpr size_t kUploadPiece = 1 << 20;
constexpr auto kLeastWait = std::chrono::milliseconds(50);

// Leaves out of the request what is before variant `index`.
void GoOnAt(uint64_t index, v1::ReadOutputsRequest& request) {
  v1::VariantRange& range = *request.mutable_range();
  if (range.count() != 0) range.set_count(range.count() - (index - range.first()));
  range.set_first(index);
}

}  // namespace

// How long to go on where nobody leads.
struct FarmClient::Patience {
  Clock::time_point until = Clock::now() + kElectionPatience;
  // A scheduler has answered that it does not lead, in this round of the addresses: the farm is
  // there, and will have a leader.
  bool farm_is_there = false;
};

FarmClient::FarmClient(const std::string& schedulers, absl::StatusOr<Identity> identity)
    : identity_(std::move(identity)),
      addresses_(SplitAddresses(schedulers)),
      search_(addresses_, RandomSeed()) {}

// A channel that has failed waits before it tries again, so another try has another channel.
const std::shared_ptr<grpc::Channel>& FarmClient::channel() {
  if (channel_ == nullptr || asked_ != search_.address()) {
    asked_ = search_.address();
    channel_ = identity_->Connect(asked_);
  }
  return channel_;
}

absl::Status FarmClient::MayAsk() const {
  TS_RETURN_IF_ERROR(identity_.status());
  return identity_->MayCall(search_.address());
}

absl::Status FarmClient::Prepare(grpc::ClientContext& context) const {
  TS_RETURN_IF_ERROR(MayAsk());
  identity_->AddTo(context);
  return absl::OkStatus();
}

void FarmClient::WaitForConnection(int timeout_ms) {
  const auto start = std::chrono::system_clock::now();
  if (!MayAsk().ok()) return;  // the call says why
  if (channel()->WaitForConnected(start + std::chrono::milliseconds(timeout_ms))) {
    std::this_thread::sleep_until(
        start + kLeastWait);  // it answers, and says no: don't ask in a tight loop
  }
}

bool FarmClient::TryAnother(const grpc::Status& status, Patience& patience) {
  const int64_t too_early_ms = RetryAfterMs(status);
  if (too_early_ms > 0) {
    const auto wait = std::chrono::milliseconds(too_early_ms);
    if (Clock::now() + wait > patience.until) return false;
    std::this_thread::sleep_for(wait);
    return true;
  }
  if (status.error_code() != grpc::StatusCode::UNAVAILABLE) return false;
  const auto leader = LeaderNamedBy(status);
  patience.farm_is_there = patience.farm_is_there || leader.has_value();
  const int64_t wait_ms = search_.Failed(leader.value_or(""));
  channel_.reset();
  if (wait_ms == 0) return true;
  if (!patience.farm_is_there || Clock::now() > patience.until) return false;
  patience.farm_is_there = false;
  std::this_thread::sleep_for(std::chrono::milliseconds(wait_ms));
  return true;
}

absl::Status FarmClient::ErrorOf(const grpc::Status& status) const {
  const absl::Status plain = StatusOf(status);
  const absl::StatusCode code = plain.code();
  if (code != absl::StatusCode::kUnavailable && code != absl::StatusCode::kDeadlineExceeded)
    return plain;
  if (addresses_.size() > 1) {
    return absl::Status(code,
                        absl::StrCat("none of the schedulers ", absl::StrJoin(addresses_, ", "),
                                     " leads and answers (", asked_, ": ", status.error_message(),
                                     "); are they running, and is --scheduler right?"));
  }
  if (LeaderNamedBy(status).has_value()) return plain;
  return absl::Status(
      code, absl::StrCat("the scheduler at ", asked_, " does not answer (", status.error_message(),
                         "); is it running, and is --scheduler right?"));
}

template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> FarmClient::Call(grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                                       const Request&, Response*),
                                          const Request& request, std::chrono::seconds deadline) {
  for (Patience patience;;) {
    grpc::ClientContext context;
    TS_RETURN_IF_ERROR(Prepare(context));
    // Of whoever runs us: a pipeline that is traced goes on in the farm.
    const char* traceparent = std::getenv("TRACEPARENT");
    if (traceparent != nullptr && !TraceId(traceparent).empty())
      context.AddMetadata("traceparent", traceparent);
    context.set_deadline(std::chrono::system_clock::now() + deadline);
    Response response;
    Stub stub(channel());
    const grpc::Status status = (stub.*method)(&context, request, &response);
    if (status.ok()) {
      search_.Found();
      return response;
    }
    if (!TryAnother(status, patience)) return ErrorOf(status);
  }
}

absl::StatusOr<v1::SubmitResponse> FarmClient::Submit(const plan::SpecFile& file,
                                                      const std::string& request_id) {
  v1::SubmitRequest request;
  *request.mutable_spec() = file.spec;
  // A call that broke off may have been heard: a try at the next leader must not be a second job.
  request.set_request_id(request_id.empty() ? RandomHex(16) : request_id);
  if (!file.batches.empty()) *request.mutable_entries() = file.batches[0];
  TS_ASSIGN_OR_RETURN(v1::SubmitResponse submitted, Call(&v1::Farm::Stub::Submit, request));
  if (file.batches.size() < 2) return submitted;
  return AppendEntries(submitted.job_id(), std::span(file.batches).subspan(1));
}

absl::StatusOr<v1::UploadPhotoResponse> FarmClient::UploadPhoto(const v1::PhotoStart& start,
                                                                std::string_view bytes) {
  const auto busy_until = Clock::now() + kBusyPatience;
  for (Patience patience;;) {
    grpc::ClientContext context;
    TS_RETURN_IF_ERROR(Prepare(context));
    context.set_deadline(std::chrono::system_clock::now() + kUploadDeadline);
    v1::UploadPhotoResponse response;
    v1::Farm::Stub stub(channel());
    const auto writer = stub.UploadPhoto(&context, &response);
    v1::UploadPhotoRequest request;
    *request.mutable_start() = start;
    request.mutable_start()->set_bytes(bytes.size());
    bool open = writer->Write(request);
    for (size_t at = 0; open && at < bytes.size(); at += kUploadPiece) {
      request.set_data(std::string(bytes.substr(at, kUploadPiece)));
      open = writer->Write(request);
    }
    if (open) writer->WritesDone();
    const grpc::Status status = writer->Finish();
    if (status.ok()) {
      search_.Found();
      return response;
    }
    if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED && Clock::now() < busy_until) {
      std::this_thread::sleep_for(kBusyWait);
    } else if (!TryAnother(status, patience)) {
      return ErrorOf(status);
    }
  }
}

absl::StatusOr<v1::ForgetResponse> FarmClient::Forget(const v1::ForgetRequest& request) {
  return Call(&v1::Farm::Stub::Forget, request, kUploadDeadline);
}

absl::StatusOr<v1::ListReceiptsResponse> FarmClient::ListReceipts(
    const std::string& tenant, const std::string& job_id,
    const std::function<void(const v1::Receipt&)>& see) {
  v1::ListReceiptsRequest request;
  request.set_tenant(tenant);
  request.set_job_id(job_id);
  request.set_limit(1'000);
  for (;;) {
    TS_ASSIGN_OR_RETURN(auto response, Call(&v1::Farm::Stub::ListReceipts, request));
    for (const v1::Receipt& receipt : response.receipts()) see(receipt);
    request.set_first(response.next());
    response.clear_receipts();
    if (response.next() == 0) return response;
  }
}

absl::StatusOr<v1::SubmitResponse> FarmClient::AppendEntries(const std::string& job_id,
                                                             std::span<const v1::Entries> batches) {
  v1::SubmitResponse response;
  for (const v1::Entries& batch : batches) {
    v1::AppendEntriesRequest request;
    request.set_job_id(job_id);
    *request.mutable_entries() = batch;
    TS_ASSIGN_OR_RETURN(response, Call(&v1::Farm::Stub::AppendEntries, request));
  }
  return response;
}

absl::Status FarmClient::ListEntries(const std::string& job_id,
                                     const std::function<void(const v1::EntryStatus&)>& see) {
  v1::ListEntriesRequest request;
  request.set_job_id(job_id);
  request.set_limit(1'000);
  for (;;) {
    TS_ASSIGN_OR_RETURN(const auto response, Call(&v1::Farm::Stub::ListEntries, request));
    for (const v1::EntryStatus& entry : response.entries()) see(entry);
    request.set_first(request.first() + static_cast<uint64_t>(response.entries_size()));
    if (response.entries().empty() || request.first() >= response.total()) return absl::OkStatus();
  }
}

absl::Status FarmClient::ListFailed(const std::string& job_id,
                                    const std::function<void(const v1::VariantStatus&)>& see) {
  v1::ListVariantsRequest request;
  request.set_job_id(job_id);
  request.set_failed(true);
  request.set_limit(500);
  for (;;) {
    TS_ASSIGN_OR_RETURN(const auto response, Call(&v1::Farm::Stub::ListVariants, request));
    for (const v1::VariantStatus& variant : response.variants()) see(variant);
    request.set_first(response.next());
    if (response.next() == 0) return absl::OkStatus();
  }
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

absl::StatusOr<v1::CreateTokenResponse> FarmClient::CreateToken(
    const v1::CreateTokenRequest& request) {
  return Call(&v1::Tokens::Stub::CreateToken, request);
}

absl::StatusOr<v1::Token> FarmClient::RevokeToken(const std::string& id) {
  v1::RevokeTokenRequest request;
  request.set_token_id(id);
  return Call(&v1::Tokens::Stub::RevokeToken, request);
}

absl::StatusOr<v1::ListTokensResponse> FarmClient::ListTokens() {
  return Call(&v1::Tokens::Stub::ListTokens, v1::ListTokensRequest());
}

absl::Status FarmClient::Watch(const std::string& job_id, int patience_ms,
                               const std::function<bool(const v1::Job&)>& see) {
  v1::GetJobRequest request;
  request.set_job_id(job_id);
  for (auto heard = Clock::now();;) {
    grpc::ClientContext context;
    TS_RETURN_IF_ERROR(Prepare(context));
    v1::Farm::Stub stub(channel());
    auto reader = stub.WatchJob(&context, request);
    v1::Job job;
    for (auto well = Clock::now(); reader->Read(&job);) {
      search_.Found();
      heard = Clock::now();
      if (!see(job)) {
        context.TryCancel();
        reader->Finish();
        return absl::CancelledError("interrupted");
      }
      if (job.trouble().empty()) well = heard;
      // It can't reach Redis; another may lead by now.
      if (addresses_.size() > 1 && heard - well > kTroublePatience) context.TryCancel();
    }
    const grpc::Status status = reader->Finish();
    if (status.ok() && job.ended_unix_ms() != 0) return absl::OkStatus();
    const bool passing = status.ok() || status.error_code() == grpc::StatusCode::UNAVAILABLE ||
                         status.error_code() == grpc::StatusCode::CANCELLED;
    if (!passing || Clock::now() - heard > std::chrono::milliseconds(patience_ms))
      return ErrorOf(status);
    if (!see(job)) return absl::CancelledError("interrupted");
    Patience patience{.farm_is_there = true};
    TryAnother({grpc::StatusCode::UNAVAILABLE, status.error_message(), status.error_details()},
               patience);
  }
}

absl::Status FarmClient::ReadOutputs(
    v1::ReadOutputsRequest request, const std::function<absl::Status(const v1::OutputInfo&)>& start,
    const std::function<absl::Status(const std::string&)>& data) {
  v1::OutputInfo last;
  uint64_t missing = 0;  // bytes of `last`
  for (Patience patience;;) {
    grpc::ClientContext context;
    TS_RETURN_IF_ERROR(Prepare(context));
    v1::Farm::Stub stub(channel());
    auto reader = stub.ReadOutputs(&context, request);
    v1::OutputPiece piece;
    while (reader->Read(&piece)) {
      search_.Found();
      patience = {};
      if (piece.has_info()) {
        last = piece.info();
        missing = request.info_only() ? 0 : last.bytes();
        GoOnAt(last.index(), request);
      } else {
        missing -= std::min<uint64_t>(missing, piece.data().size());
      }
      const absl::Status taken = piece.has_info() ? start(piece.info()) : data(piece.data());
      if (!taken.ok()) {
        context.TryCancel();
        reader->Finish();
        return taken;
      }
    }
    const grpc::Status status = reader->Finish();
    if (status.ok()) return absl::OkStatus();
    if (!TryAnother(status, patience)) return ErrorOf(status);
    if (!last.name().empty() && missing == 0) {
      if (request.range().count() == 1) return absl::OkStatus();  // it was the last one
      GoOnAt(last.index() + 1, request);
    }
  }
}

}  // namespace tiltshift::cli
