#include <cstdio>

#include "base/hash.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/format.h"
#include "cli/photo_files.h"
#include "cli/watch.h"
#include "plan/plan.h"
#include "plan/spec.h"

namespace tiltshift::cli {
namespace {

struct SubmitOptions {
  Common common;
  std::string spec, request_id;
  bool watch = false;
};

absl::StatusOr<ExitCode> RunSubmit(const SubmitOptions& options) {
  PhotoFiles photos;
  TS_ASSIGN_OR_RETURN(plan::SpecFile file, plan::LoadSpec(options.spec, photos.Checker()));
  TS_RETURN_IF_ERROR(plan::Plan::Create(file.spec).status());
  TellSkipped(file.skipped);
  FarmClient client(options.common.schedulers, Identity::Load(options.common.identity));
  const std::string request_id = options.request_id.empty() ? RandomHex(16) : options.request_id;
  TS_RETURN_IF_ERROR(photos.Upload(client, request_id, file));
  TS_ASSIGN_OR_RETURN(const v1::SubmitResponse submitted, client.Submit(file, request_id));
  if (options.common.json) {
    std::printf("%s\n", ToJson(submitted).c_str());
  } else {
    std::printf("%s: %s pictures accepted; `tiltshift watch %s` follows it\n",
                submitted.job_id().c_str(), WithCommas(submitted.variants()).c_str(),
                submitted.job_id().c_str());
  }
  std::fflush(stdout);
  if (!options.watch) return kDone;
  return WatchJob(client, submitted.job_id(), options.common.json);
}

struct WatchOptions {
  Common common;
  std::string job;
};

}  // namespace

void AddSubmitCommand(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<SubmitOptions>();
  CLI::App* command = app.add_subcommand("submit", "Submit a spec to a running farm");
  command->footer(
      "Examples:\n  tiltshift submit campaign.yaml --scheduler farm:7070 --watch\n  tiltshift "
      "submit campaign.yaml --request-id spring-7   # again is the same job\n");
  command->add_option("spec", options->spec, "the campaign or contest, YAML or JSON")->required();
  command->add_flag("--watch", options->watch, "stay until the job has ended");
  command->add_option("--request-id", options->request_id,
                      "the same id submits once, however often it is sent (64 characters)");
  AddSchedulerOption(*command, options->common);
  AddJsonOption(*command, options->common);
  command->callback([options, &chosen] { chosen.run = [options] { return RunSubmit(*options); }; });
}

void AddWatchCommand(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<WatchOptions>();
  CLI::App* command = app.add_subcommand("watch", "Follow a job until it has ended");
  command->footer(
      "Examples:\n  tiltshift watch j0123456789abcde\n  tiltshift watch j0123456789abcde --json   "
      "# a line a change\n");
  command->add_option("job", options->job, "the job's id")->required();
  AddSchedulerOption(*command, options->common);
  AddJsonOption(*command, options->common);
  command->callback([options, &chosen] {
    chosen.run = [options]() -> absl::StatusOr<ExitCode> {
      FarmClient client(options->common.schedulers, Identity::Load(options->common.identity));
      return WatchJob(client, options->job, options->common.json);
    };
  });
}

}  // namespace tiltshift::cli
