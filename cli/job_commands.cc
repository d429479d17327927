#include <cstdio>

#include "absl/strings/numbers.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/format.h"

namespace tiltshift::cli {
namespace {

struct JobOptions {
  Common common;
  std::string job;
  uint32_t limit = 20;
  int32_t priority = 0;
  bool only_failed = false;
};

absl::StatusOr<ExitCode> ListFailed(FarmClient& client, const JobOptions& options) {
  TS_RETURN_IF_ERROR(client.ListFailed(options.job, [&](const v1::VariantStatus& variant) {
    const std::string line =
        options.common.json ? ToJson(variant)
                            : FailureLine(variant.index(), variant.attempts(), variant.reason());
    std::printf("%s\n", line.c_str());
  }));
  return kDone;
}

absl::StatusOr<ExitCode> RunStatus(const JobOptions& options) {
  FarmClient client(options.common.schedulers, Identity::Load(options.common.identity));
  if (options.only_failed) return ListFailed(client, options);
  TS_ASSIGN_OR_RETURN(const v1::Job job, client.GetJob(options.job));
  std::printf("%s\n", options.common.json ? ToJson(job).c_str() : Summary(job).c_str());
  if (!options.common.json && job.leased() > 0)
    std::printf("  %s with workers now\n", WithCommas(job.leased()).c_str());
  return kDone;
}

absl::StatusOr<ExitCode> RunList(const JobOptions& options) {
  FarmClient client(options.common.schedulers, Identity::Load(options.common.identity));
  TS_ASSIGN_OR_RETURN(const v1::ListJobsResponse list, client.ListJobs(options.limit));
  if (options.common.json) {
    std::printf("%s\n", ToJson(list).c_str());
    return kDone;
  }
  std::printf("%-17s %-10s %12s %12s %8s  %s\n", "JOB", "STATE", "DONE", "OF", "FAILED", "NAME");
  for (const v1::Job& job : list.jobs()) {
    std::printf("%-17s %-10s %12s %12s %8s  %s\n", job.id().c_str(), StateName(job.state()).c_str(),
                WithCommas(job.committed()).c_str(), WithCommas(job.variants()).c_str(),
                WithCommas(job.failed()).c_str(), job.spec().name().c_str());
  }
  return kDone;
}

absl::StatusOr<ExitCode> Show(const JobOptions& options, const absl::StatusOr<v1::Job>& job) {
  TS_RETURN_IF_ERROR(job.status());
  std::printf("%s\n", options.common.json ? ToJson(*job).c_str() : Summary(*job).c_str());
  return kDone;
}

absl::StatusOr<ExitCode> RunCancel(const JobOptions& options) {
  FarmClient client(options.common.schedulers, Identity::Load(options.common.identity));
  return Show(options, client.CancelJob(options.job));
}

absl::StatusOr<ExitCode> RunPause(const JobOptions& options) {
  FarmClient client(options.common.schedulers, Identity::Load(options.common.identity));
  return Show(options, client.PauseJob(options.job));
}

absl::StatusOr<ExitCode> RunResume(const JobOptions& options) {
  FarmClient client(options.common.schedulers, Identity::Load(options.common.identity));
  return Show(options, client.ResumeJob(options.job));
}

absl::StatusOr<ExitCode> RunRetry(const JobOptions& options) {
  FarmClient client(options.common.schedulers, Identity::Load(options.common.identity));
  return Show(options, client.RetryFailed(options.job));
}

absl::StatusOr<ExitCode> RunPriority(const JobOptions& options) {
  FarmClient client(options.common.schedulers, Identity::Load(options.common.identity));
  return Show(options, client.SetPriority(options.job, options.priority));
}

// A job's id, JOB/INDEX for a variant of it, or a worker's id: jobs are what `list` shows.
absl::StatusOr<ExitCode> RunExplain(const JobOptions& options) {
  FarmClient client(options.common.schedulers, Identity::Load(options.common.identity));
  v1::ExplainRequest request;
  const size_t slash = options.job.find('/');
  uint64_t index = 0;
  if (slash != std::string::npos && absl::SimpleAtoi(options.job.substr(slash + 1), &index)) {
    request.mutable_variant()->set_job_id(options.job.substr(0, slash));
    request.mutable_variant()->set_index(index);
  } else {
    request.set_job_id(options.job);
  }
  absl::StatusOr<v1::ExplainResponse> response = client.Explain(request);
  if (absl::IsNotFound(response.status()) && request.subject_case() == v1::ExplainRequest::kJobId) {
    request.set_worker_id(options.job);
    response = client.Explain(request);
    // Who may not ask about workers has named a job that is not there.
    if (absl::IsNotFound(response.status()) || absl::IsPermissionDenied(response.status()))
      return absl::NotFoundError(
          absl::StrCat("\"", options.job,
                       "\" is neither a job nor a worker; `tiltshift list` and "
                       "`tiltshift workers` show them, JOB/INDEX is a variant"));
  }
  TS_RETURN_IF_ERROR(response.status());
  std::printf("%s\n", options.common.json ? ToJson(*response).c_str() : response->text().c_str());
  return kDone;
}

absl::StatusOr<ExitCode> RunWorkers(const JobOptions& options) {
  FarmClient client(options.common.schedulers, Identity::Load(options.common.identity));
  TS_ASSIGN_OR_RETURN(const v1::ListWorkersResponse list, client.ListWorkers());
  if (options.common.json) {
    std::printf("%s\n", ToJson(list).c_str());
    return kDone;
  }
  std::printf("%-36s %6s %8s %12s %9s  %s\n", "WORKER", "SLOTS", "LEASED", "DONE", "IMAGES/S",
              "DEVICE");
  for (const v1::WorkerInfo& worker : list.workers()) {
    const std::string state = !worker.benched().empty() ? ", benched: " + worker.benched()
                              : worker.draining()       ? ", draining"
                                                        : "";
    std::printf("%-36s %6u %8s %12s %9.2f  %s%s\n", worker.id().c_str(), worker.slots(),
                WithCommas(worker.leased()).c_str(), WithCommas(worker.committed()).c_str(),
                worker.images_per_second(), worker.device().c_str(), state.c_str());
  }
  return kDone;
}

using Run = absl::StatusOr<ExitCode> (*)(const JobOptions&);

CLI::App* Add(CLI::App& app, Chosen& chosen, const char* name, const char* what,
              const char* example, bool needs_job, Run run) {
  auto options = std::make_shared<JobOptions>();
  CLI::App* command = AddFarmCommand(app, chosen, options, name, what, example, run);
  if (needs_job) command->add_option("job", options->job, "the job's id")->required();
  if (std::string(name) == "status")
    command->add_flag("--failed", options->only_failed,
                      "every variant that failed, a line each, and why");
  if (std::string(name) == "list")
    command->add_option("--limit", options->limit, "newest jobs to show")
        ->capture_default_str()
        ->check(CLI::Range(1, 1000));
  if (std::string(name) == "priority")
    command->add_option("--to", options->priority, "-100 to 100; higher goes first")
        ->required()
        ->check(CLI::Range(-100, 100));
  return command;
}

}  // namespace

void AddJobCommands(CLI::App& app, Chosen& chosen) {
  Add(app, chosen, "status", "How far a job is, and what failed",
      "tiltshift status j0123456789abcde --json", true, RunStatus);
  Add(app, chosen, "list", "The newest jobs", "tiltshift list --limit 50", false, RunList);
  Add(app, chosen, "cancel", "End a job; what is rendered stays",
      "tiltshift cancel j0123456789abcde", true, RunCancel);
  Add(app, chosen, "pause", "Begin nothing new of a job; what is begun is finished",
      "tiltshift pause j0123456789abcde", true, RunPause);
  Add(app, chosen, "resume", "Go on with a paused job", "tiltshift resume j0123456789abcde", true,
      RunResume);
  Add(app, chosen, "retry", "Render a job's failed variants again",
      "tiltshift retry j0123456789abcde", true, RunRetry);
  Add(app, chosen, "priority", "Change a job's priority within its tenant",
      "tiltshift priority j0123456789abcde --to 50", true, RunPriority);
  Add(app, chosen, "explain", "Why a job, a variant (JOB/INDEX) or a worker is where it is",
      "tiltshift explain j0123456789abcde/17", true, RunExplain);
  Add(app, chosen, "workers", "The workers and what they do", "tiltshift workers", false,
      RunWorkers);
}

}  // namespace tiltshift::cli
