#include "scheduler/farm_service.h"

#include <spdlog/spdlog.h>

#include <future>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "plan/entries.h"
#include "plan/limits.h"
#include "scheduler/contest.h"
#include "scheduler/message_checks.h"
#include "scheduler/output_reader.h"
#include "scheduler/watch_call.h"
#include "store/submissions.h"

namespace tiltshift::scheduler {
namespace {

constexpr uint32_t kMostListed = 1'000;

// Where a request id is given the job's id follows from it, so that a repeat finds the same
// submission.
std::string NewJobId(const std::string& request_id) {
  if (!request_id.empty()) return "j" + Sha256Hex("request " + request_id).substr(0, 15);
  return "j" + RandomHex(8).substr(0, 15);
}

absl::Status CheckPriority(int32_t priority) {
  if (priority >= -plan::kHighestPriority && priority <= plan::kHighestPriority)
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("priority: ", priority, " is not from ",
                                                 -plan::kHighestPriority, " to ",
                                                 plan::kHighestPriority));
}

// Tenants choose their request ids apart from each other. A tenant's name has no space.
std::string RequestOf(const v1::SubmitRequest& request) {
  const std::string& tenant = request.spec().tenant();
  if (request.request_id().empty() || tenant.empty() || tenant == "default")
    return request.request_id();
  return absl::StrCat(tenant, " ", request.request_id());
}

v1::SubmitResponse Submitted(const std::string& job_id, uint64_t variants) {
  v1::SubmitResponse response;
  response.set_job_id(job_id);
  response.set_variants(variants);
  return response;
}

}  // namespace

void FarmService::AddTo(CallServer& server) {
  const std::string farm = "/tiltshift.v1.Farm/";
  server.Unary<v1::SubmitRequest, v1::SubmitResponse>(
      farm + "Submit", metrics_.submit_seconds,
      [this](const auto& request, auto reply) { Submit(request, std::move(reply)); },
      [](const std::string& traceparent, v1::SubmitRequest& request) {
        request.mutable_spec()->set_traceparent(traceparent);
      });
  server.Unary<v1::AppendEntriesRequest, v1::SubmitResponse>(
      farm + "AppendEntries", metrics_.append_entries_seconds,
      [this](const auto& request, auto reply) { AppendEntries(request, std::move(reply)); });
  server.Unary<v1::ListEntriesRequest, v1::ListEntriesResponse>(
      farm + "ListEntries", metrics_.list_entries_seconds,
      [this](const auto& request, auto reply) { ListEntries(request, std::move(reply)); });
  server.Unary<v1::GetJobRequest, v1::Job>(farm + "GetJob", metrics_.get_job_seconds,
                                           [this](const auto& request, auto reply) {
                                             const auto job = loop_.FindJob(request.job_id());
                                             if (!job.ok()) return reply(job.status());
                                             reply(**job);
                                           });
  server.Unary<v1::ListJobsRequest, v1::ListJobsResponse>(
      farm + "ListJobs", metrics_.list_jobs_seconds,
      [this](const auto& request, auto reply) { reply(ListJobs(request)); });
  server.ServerStream(farm + "WatchJob", [this](std::shared_ptr<Call> call) {
    return std::make_shared<WatchCall>(std::move(call), loop_, metrics_.watch_job_seconds);
  });
  server.Unary<v1::CancelJobRequest, v1::Job>(
      farm + "CancelJob", metrics_.cancel_job_seconds,
      [this](const auto& request, auto reply) { CancelJob(request, std::move(reply)); });
  server.Unary<v1::PauseJobRequest, v1::Job>(
      farm + "PauseJob", metrics_.pause_job_seconds, [this](const auto& request, auto reply) {
        loop_.SetPaused(request.job_id(), true, WithJob(request.job_id(), reply));
      });
  server.Unary<v1::ResumeJobRequest, v1::Job>(
      farm + "ResumeJob", metrics_.resume_job_seconds, [this](const auto& request, auto reply) {
        loop_.SetPaused(request.job_id(), false, WithJob(request.job_id(), reply));
      });
  server.Unary<v1::RetryFailedRequest, v1::Job>(
      farm + "RetryFailed", metrics_.retry_failed_seconds, [this](const auto& request, auto reply) {
        loop_.RetryFailed(request.job_id(), WithJob(request.job_id(), reply));
      });
  server.Unary<v1::SetPriorityRequest, v1::Job>(
      farm + "SetPriority", metrics_.set_priority_seconds, [this](const auto& request, auto reply) {
        const absl::Status fine = CheckPriority(request.priority());
        if (!fine.ok()) return reply(fine);
        loop_.SetPriority(request.job_id(), request.priority(), WithJob(request.job_id(), reply));
      });
  server.Unary<v1::ExplainRequest, v1::ExplainResponse>(
      farm + "Explain", metrics_.explain_seconds, [this](const auto& request, auto reply) {
        loop_.Explain(request, [reply](const absl::StatusOr<std::string>& text) {
          if (!text.ok()) return reply(text.status());
          v1::ExplainResponse response;
          response.set_text(*text);
          reply(response);
        });
      });
  server.ServerStream(farm + "ReadOutputs", [this](std::shared_ptr<Call> call) {
    return std::make_shared<OutputReader>(std::move(call), loop_, blobs_, threads_,
                                          metrics_.read_outputs_seconds);
  });
  server.Unary<v1::ListWorkersRequest, v1::ListWorkersResponse>(
      farm + "ListWorkers", metrics_.list_workers_seconds,
      [this](const auto&, auto reply) { reply(ListWorkers()); });
}

absl::Status FarmService::MayAccept(const std::string& request_id) const {
  TS_RETURN_IF_ERROR(loop_.Leading());
  if (const absl::Status health = loop_.Health(); !health.ok())
    return Annotate(health, "nothing was accepted, try again soon");
  return CheckId("request_id", request_id, kLongestRequestId);
}

// All of the spec's own texts in one: entries are asked about one by one, before each is rendered.
absl::Status FarmService::Review(const v1::JobSpec& spec) const {
  if (moderator_ == nullptr) return absl::OkStatus();
  v1::ReviewRequest request;
  request.set_kind(v1::REVIEW_KIND_PROMPT);
  request.set_job(spec.name());
  request.set_tenant(spec.tenant());
  std::string& text = *request.mutable_text();
  text = absl::StrCat(spec.prompt(), "\n", spec.negative_prompt(), "\n");
  for (const v1::Axis& axis : spec.axes())
    for (const std::string& value : axis.list().values()) absl::StrAppend(&text, value, "\n");
  return moderator_->Review(request);
}

void FarmService::Submit(const v1::SubmitRequest& request, Reply<v1::SubmitResponse> reply) {
  if (const absl::Status may = MayAccept(request.request_id()); !may.ok()) return reply(may);
  threads_.Run([this, request, reply] {
    if (const absl::Status may = Review(request.spec()); !may.ok()) return reply(may);
    const std::string request_id = RequestOf(request);
    const std::string job_id = NewJobId(request_id);
    // A repeat may come when its photos are gone: its job is there, and is the answer.
    const bool repeated = loop_.FindJob(job_id).ok();
    const auto plan =
        TakeSubmission(blobs_, job_id, request, [&](const auto& spec, const auto& batch) {
          return repeated ? absl::OkStatus() : photos_.TakePhotos(job_id, spec, batch);
        });
    if (!plan.ok()) return reply(plan.status());
    const absl::Status stored =
        store::PutSubmission(blobs_, job_id, plan->spec(), RealClock().UnixMs());
    if (!stored.ok()) return reply(stored);
    loop_.Submit(job_id, plan->spec(), plan->count(), request_id,
                 [reply, variants = plan->count(),
                  trace = plan->spec().traceparent()](const absl::StatusOr<std::string>& id) {
                   if (!id.ok()) return reply(id.status());
                   LogEvent("accepted", {.job = *id, .count = variants, .trace = trace});
                   reply(Submitted(*id, variants));
                 });
  });
}

void FarmService::AppendEntries(const v1::AppendEntriesRequest& request,
                                Reply<v1::SubmitResponse> reply) {
  if (const absl::Status may = MayAccept(""); !may.ok()) return reply(may);
  threads_.Run([this, request, reply] {
    const std::string& id = request.job_id();
    const auto job = loop_.FindJob(id);
    if (!job.ok()) return reply(job.status());
    const auto plan = TakeBatch(blobs_, ledgers_, id, (*job)->spec(), request.entries(),
                                [&](const auto& spec, const auto& batch) -> absl::Status {
                                  TS_RETURN_IF_ERROR(MayAppend(spec, batch));
                                  return photos_.TakePhotos(id, spec, batch);
                                });
    if (!plan.ok()) return reply(plan.status());
    loop_.Append(id, plan->spec(), plan->count(),
                 [reply, id, variants = plan->count()](const absl::Status& done) {
                   if (!done.ok()) return reply(done);
                   reply(Submitted(id, variants));
                 });
  });
}

// As at submission, of the batch alone: an edit's entries must have photos.
absl::Status FarmService::MayAppend(const v1::JobSpec& spec, const v1::Entries& batch) {
  v1::JobSpec alone = spec;
  alone.mutable_contest()->clear_columns();
  alone.mutable_contest()->clear_batches();
  plan::AddBatch(batch, "", alone);
  std::promise<absl::Status> answer;
  loop_.CheckDemands(alone, [&](const absl::Status& status) { answer.set_value(status); });
  return answer.get_future().get();
}

void FarmService::ListEntries(const v1::ListEntriesRequest& request,
                              Reply<v1::ListEntriesResponse> reply) {
  const auto job = loop_.FindJob(request.job_id());
  if (!job.ok()) return reply(job.status());
  threads_.Run([this, request, reply, job = *job] {
    auto entries = ReadEntries(blobs_, *job, request);
    if (!entries.ok() || entries->entries().empty()) return reply(entries);
    v1::VariantRange range = entries->entries(0).variants();
    range.set_count(range.count() * static_cast<uint64_t>(entries->entries_size()));
    loop_.FindProgress(job->id(), range,
                       [reply, job, response = *std::move(entries)](const auto& progress) mutable {
                         if (!progress.ok()) return reply(progress.status());
                         AddProgress(*job, *progress, response);
                         reply(response);
                       });
  });
}

absl::StatusOr<v1::ListJobsResponse> FarmService::ListJobs(
    const v1::ListJobsRequest& request) const {
  const uint32_t limit = request.limit() == 0 ? 100 : request.limit();
  if (limit > kMostListed)
    return absl::InvalidArgumentError(absl::StrCat("limit: more than ", kMostListed));
  TS_ASSIGN_OR_RETURN(const auto jobs, loop_.NewestJobs(limit, request.tenant()));
  v1::ListJobsResponse response;
  for (const JobView& job : jobs) {
    v1::Job& listed = *response.add_jobs();
    listed = *job;
    listed.clear_spec();
    listed.clear_failures();
    listed.mutable_spec()->set_name(job->spec().name());
    listed.mutable_spec()->set_tenant(job->spec().tenant());
  }
  return response;
}

FarmLoop::Done FarmService::WithJob(const std::string& job_id, JobReply reply) const {
  return [this, job_id, reply = std::move(reply)](const absl::Status& status) {
    if (!status.ok()) return reply(status);
    const auto job = loop_.FindJob(job_id);
    reply(job.ok() ? **job : v1::Job());
  };
}

void FarmService::CancelJob(const v1::CancelJobRequest& request, JobReply reply) {
  const std::string& id = request.job_id();
  auto done = WithJob(id, std::move(reply));
  const auto job = loop_.FindJob(id);
  if (!job.ok() || (*job)->ended_unix_ms() != 0) return loop_.Cancel(id, std::move(done));
  // Also where Redis is not, so that a rebuilt one does not go on with it. A full disk is no reason
  // to go on rendering.
  threads_.Run([this, id, done = std::move(done)] {
    const absl::Status kept = store::PutCancellation(blobs_, id, RealClock().UnixMs());
    if (!kept.ok()) spdlog::warn("job {} is cancelled in Redis only: {}", id, Message(kept));
    loop_.Cancel(id, [this, id, done](const absl::Status& cancelled) {
      threads_.Run([this, id, done, cancelled] {
        const absl::Status gone = store::DeleteStoppedRenders(blobs_, id);
        if (!gone.ok()) spdlog::warn("job {}: stopped renders stay: {}", id, Message(gone));
        done(cancelled);
      });
    });
  });
}

absl::StatusOr<v1::ListWorkersResponse> FarmService::ListWorkers() const {
  TS_ASSIGN_OR_RETURN(auto workers, loop_.Workers());
  v1::ListWorkersResponse response;
  for (v1::WorkerInfo& worker : workers) *response.add_workers() = std::move(worker);
  return response;
}

}  // namespace tiltshift::scheduler
