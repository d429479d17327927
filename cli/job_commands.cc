#include <cstdio>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/format.h"

namespace tiltshift::cli {
namespace {

struct JobOptions {
  Common common;
  std::string job;
  uint32_t limit = 20;
};

absl::StatusOr<ExitCode> RunStatus(const JobOptions& options) {
  FarmClient client(options.common.schedulers);
  TS_ASSIGN_OR_RETURN(const v1::Job job, client.GetJob(options.job));
  std::printf("%s\n", options.common.json ? ToJson(job).c_str() : Summary(job).c_str());
  if (!options.common.json && job.leased() > 0)
    std::printf("  %s with workers now\n", WithCommas(job.leased()).c_str());
  return kDone;
}

absl::StatusOr<ExitCode> RunList(const JobOptions& options) {
  FarmClient client(options.common.schedulers);
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

absl::StatusOr<ExitCode> RunCancel(const JobOptions& options) {
  FarmClient client(options.common.schedulers);
  TS_ASSIGN_OR_RETURN(const v1::Job job, client.CancelJob(options.job));
  std::printf("%s\n", options.common.json ? ToJson(job).c_str() : Summary(job).c_str());
  return kDone;
}

absl::StatusOr<ExitCode> RunWorkers(const JobOptions& options) {
  FarmClient client(options.common.schedulers);
  TS_ASSIGN_OR_RETURN(const v1::ListWorkersResponse list, client.ListWorkers());
  if (options.common.json) {
    std::printf("%s\n", ToJson(list).c_str());
    return kDone;
  }
  std::printf("%-36s %6s %8s %12s %9s  %s\n", "WORKER", "SLOTS", "LEASED", "DONE", "IMAGES/S",
              "DEVICE");
  for (const v1::WorkerInfo& worker : list.workers()) {
    std::printf("%-36s %6u %8s %12s %9.2f  %s%s\n", worker.id().c_str(), worker.slots(),
                WithCommas(worker.leased()).c_str(), WithCommas(worker.committed()).c_str(),
                worker.images_per_second(), worker.device().c_str(),
                worker.draining() ? ", draining" : "");
  }
  return kDone;
}

using Run = absl::StatusOr<ExitCode> (*)(const JobOptions&);

CLI::App* Add(CLI::App& app, Chosen& chosen, const char* name, const char* what,
              const char* example, bool needs_job, Run run) {
  auto options = std::make_shared<JobOptions>();
  CLI::App* command = app.add_subcommand(name, what);
  command->footer(std::string("Example:\n  ") + example + "\n");
  if (needs_job) command->add_option("job", options->job, "the job's id")->required();
  if (std::string(name) == "list")
    command->add_option("--limit", options->limit, "newest jobs to show")
        ->capture_default_str()
        ->check(CLI::Range(1, 1000));
  AddSchedulerOption(*command, options->common);
  AddJsonOption(*command, options->common);
  command->callback(
      [options, &chosen, run] { chosen.run = [options, run] { return run(*options); }; });
  return command;
}

}  // namespace

void AddJobCommands(CLI::App& app, Chosen& chosen) {
  Add(app, chosen, "status", "How far a job is, and what failed",
      "tiltshift status j0123456789abcde --json", true, RunStatus);
  Add(app, chosen, "list", "The newest jobs", "tiltshift list --limit 50", false, RunList);
  Add(app, chosen, "cancel", "End a job; what is rendered stays",
      "tiltshift cancel j0123456789abcde", true, RunCancel);
  Add(app, chosen, "workers", "The workers and what they do", "tiltshift workers", false,
      RunWorkers);
}

}  // namespace tiltshift::cli
