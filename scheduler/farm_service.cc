#include "scheduler/farm_service.h"

#include <spdlog/spdlog.h>

#include "base/clock.h"
#include "base/hash.h"
#include "plan/limits.h"
#include "plan/plan.h"
#include "proto/leader.h"
#include "scheduler/message_checks.h"
#include "scheduler/output_reader.h"
#include "scheduler/watch_reactor.h"
#include "store/submissions.h"

namespace tiltshift::scheduler {
namespace {

constexpr uint32_t kMostListed = 1'000;

grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(status));
  return reactor;
}

// Where a request id is given the job's id follows from it, so that a repeat finds the same
// submission.
std::string NewJobId(const std::string& request_id) {
  if (!request_id.empty()) return "j" + Sha256Hex("request " + request_id).substr(0, 15);
  return "j" + RandomHex(8).substr(0, 15);
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (const auto leader = LeaderOf(status); leader.has_value())
    return NotLeadingStatus(Shortened(Message(status), kLongestMessage), *leader);
  return {static_cast<grpc::StatusCode>(status.code()),
          Shortened(Message(status), kLongestMessage)};
}

grpc::ServerUnaryReactor* FarmService::Submit(grpc::CallbackServerContext* context,
                                              const v1::SubmitRequest* request,
                                              v1::SubmitResponse* response) {
  auto timer = std::make_shared<monitoring::Timer>(metrics_.submit_seconds);
  if (const absl::Status leading = loop_.Leading(); !leading.ok()) return Answer(context, leading);
  if (const absl::Status health = loop_.Health(); !health.ok()) {
    return Answer(context, Annotate(health, "nothing was accepted, try again soon"));
  }
  const absl::Status id = CheckId("request_id", request->request_id(), kLongestRequestId);
  if (!id.ok()) return Answer(context, id);
  const auto plan = plan::Plan::Create(request->spec());
  if (!plan.ok()) return Answer(context, plan.status());
  if (plan->count() > kMostVariants) {
    return Answer(context, absl::OutOfRangeError(absl::StrCat(
                               "the axes make ", plan->count(), " variants; a job may have ",
                               kMostVariants, ": split it, or leave axes out")));
  }
  const std::string job_id = NewJobId(request->request_id());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  response->set_variants(plan->count());
  auto answer = [reactor, response, timer](absl::StatusOr<std::string> id) {
    if (id.ok()) response->set_job_id(*id);
    reactor->Finish(ToGrpc(id.status()));
  };
  threads_.Run([this, job_id, spec = plan->spec(), count = plan->count(),
                request_id = request->request_id(), answer] {
    const absl::Status stored = store::PutSubmission(blobs_, job_id, spec, RealClock().UnixMs());
    if (!stored.ok()) return answer(stored);
    loop_.Submit(job_id, spec, count, request_id, answer);
  });
  return reactor;
}

grpc::ServerUnaryReactor* FarmService::GetJob(grpc::CallbackServerContext* context,
                                              const v1::GetJobRequest* request, v1::Job* response) {
  const monitoring::Timer timer(metrics_.get_job_seconds);
  const auto job = loop_.FindJob(request->job_id());
  if (job.ok()) *response = **job;
  return Answer(context, job.status());
}

grpc::ServerUnaryReactor* FarmService::ListJobs(grpc::CallbackServerContext* context,
                                                const v1::ListJobsRequest* request,
                                                v1::ListJobsResponse* response) {
  const monitoring::Timer timer(metrics_.list_jobs_seconds);
  const uint32_t limit = request->limit() == 0 ? 100 : request->limit();
  if (limit > kMostListed)
    return Answer(context,
                  absl::InvalidArgumentError(absl::StrCat("limit: more than ", kMostListed)));
  const auto jobs = loop_.NewestJobs(limit);
  if (!jobs.ok()) return Answer(context, jobs.status());
  for (const JobView& job : *jobs) {
    v1::Job& listed = *response->add_jobs();
    listed = *job;
    listed.clear_spec();
    listed.clear_failures();
    listed.mutable_spec()->set_name(job->spec().name());
    listed.mutable_spec()->set_tenant(job->spec().tenant());
  }
  return Answer(context, absl::OkStatus());
}

grpc::ServerWriteReactor<v1::Job>* FarmService::WatchJob(grpc::CallbackServerContext*,
                                                         const v1::GetJobRequest* request) {
  return WatchReactor::Start(loop_, request->job_id(), metrics_.watch_job_seconds);
}

std::function<void(absl::Status)> FarmService::JobAnswer(grpc::ServerUnaryReactor* reactor,
                                                         const std::string& job_id,
                                                         v1::Job* response,
                                                         monitoring::Histogram seconds) {
  auto timer = std::make_shared<monitoring::Timer>(seconds);
  return [this, reactor, response, timer, job_id](absl::Status status) {
    const auto job = loop_.FindJob(job_id);
    if (status.ok() && job.ok()) *response = **job;
    reactor->Finish(ToGrpc(status));
  };
}

grpc::ServerUnaryReactor* FarmService::CancelJob(grpc::CallbackServerContext* context,
                                                 const v1::CancelJobRequest* request,
                                                 v1::Job* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const std::string& id = request->job_id();
  auto answer = JobAnswer(reactor, id, response, metrics_.cancel_job_seconds);
  const auto job = loop_.FindJob(id);
  if (!job.ok() || (*job)->ended_unix_ms() != 0) {
    loop_.Cancel(id, answer);
    return reactor;
  }
  // Also where Redis is not, so that a rebuilt one does not go on with it. A full disk is no reason
  // to go on rendering.
  threads_.Run([this, id, answer] {
    const absl::Status kept = store::PutCancellation(blobs_, id, RealClock().UnixMs());
    if (!kept.ok()) spdlog::warn("job {} is cancelled in Redis only: {}", id, Message(kept));
    loop_.Cancel(id, answer);
  });
  return reactor;
}

grpc::ServerUnaryReactor* FarmService::PauseJob(grpc::CallbackServerContext* context,
                                                const v1::PauseJobRequest* request,
                                                v1::Job* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  loop_.SetPaused(request->job_id(), true,
                  JobAnswer(reactor, request->job_id(), response, metrics_.pause_job_seconds));
  return reactor;
}

grpc::ServerUnaryReactor* FarmService::ResumeJob(grpc::CallbackServerContext* context,
                                                 const v1::ResumeJobRequest* request,
                                                 v1::Job* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  loop_.SetPaused(request->job_id(), false,
                  JobAnswer(reactor, request->job_id(), response, metrics_.resume_job_seconds));
  return reactor;
}

grpc::ServerUnaryReactor* FarmService::RetryFailed(grpc::CallbackServerContext* context,
                                                   const v1::RetryFailedRequest* request,
                                                   v1::Job* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  loop_.RetryFailed(request->job_id(),
                    JobAnswer(reactor, request->job_id(), response, metrics_.retry_failed_seconds));
  return reactor;
}

grpc::ServerUnaryReactor* FarmService::SetPriority(grpc::CallbackServerContext* context,
                                                   const v1::SetPriorityRequest* request,
                                                   v1::Job* response) {
  auto answer = [&](grpc::ServerUnaryReactor* reactor) {
    return JobAnswer(reactor, request->job_id(), response, metrics_.set_priority_seconds);
  };
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (request->priority() < -plan::kHighestPriority ||
      request->priority() > plan::kHighestPriority) {
    answer(reactor)(absl::InvalidArgumentError(
        absl::StrCat("priority: ", request->priority(), " is not from ", -plan::kHighestPriority,
                     " to ", plan::kHighestPriority)));
    return reactor;
  }
  loop_.SetPriority(request->job_id(), request->priority(), answer(reactor));
  return reactor;
}

grpc::ServerUnaryReactor* FarmService::Explain(grpc::CallbackServerContext* context,
                                               const v1::ExplainRequest* request,
                                               v1::ExplainResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  auto timer = std::make_shared<monitoring::Timer>(metrics_.explain_seconds);
  loop_.Explain(*request, [reactor, response, timer](absl::StatusOr<std::string> text) {
    if (text.ok()) response->set_text(*text);
    reactor->Finish(ToGrpc(text.status()));
  });
  return reactor;
}

grpc::ServerWriteReactor<v1::OutputPiece>* FarmService::ReadOutputs(
    grpc::CallbackServerContext*, const v1::ReadOutputsRequest* request) {
  const auto job = loop_.FindJob(request->job_id());
  absl::Status fine = job.status();
  if (fine.ok() && request->range().first() > (*job)->variants()) {
    fine = absl::OutOfRangeError(absl::StrCat("range.first: job ", request->job_id(), " has ",
                                              (*job)->variants(), " variants, no ",
                                              request->range().first()));
  }
  return new OutputReader(blobs_, threads_, *request, fine, metrics_.read_outputs_seconds);
}

grpc::ServerUnaryReactor* FarmService::ListWorkers(grpc::CallbackServerContext* context,
                                                   const v1::ListWorkersRequest*,
                                                   v1::ListWorkersResponse* response) {
  const monitoring::Timer timer(metrics_.list_workers_seconds);
  auto workers = loop_.Workers();
  if (!workers.ok()) return Answer(context, workers.status());
  for (v1::WorkerInfo& worker : *workers) *response->add_workers() = std::move(worker);
  return Answer(context, absl::OkStatus());
}

}  // namespace tiltshift::scheduler
