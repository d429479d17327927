#include "cli/watch.h"

#include <cstdio>

#include "cli/format.h"

namespace tiltshift::cli {
namespace {

constexpr int kPatienceMs = 60'000;  // a scheduler may restart meanwhile

}  // namespace

ExitCode ExitCodeOf(v1::JobState state) {
  switch (state) {
    case v1::JOB_STATE_FAILED:
      return kJobFailed;
    case v1::JOB_STATE_CANCELLED:
      return kCancelled;
    default:
      return kDone;
  }
}

absl::StatusOr<ExitCode> WatchJob(FarmClient& client, const std::string& job_id, bool json) {
  TS_ASSIGN_OR_RETURN(v1::Job last, client.GetJob(job_id));
  Progress progress(json);
  const absl::Status watched = client.Watch(job_id, kPatienceMs, [&](const v1::Job& job) {
    if (job.id().empty()) return !Interrupted();
    last = job;
    progress.Show(job);
    return !Interrupted();
  });
  progress.End();
  TS_RETURN_IF_ERROR(watched);
  if (!json) std::fprintf(stderr, "%s\n", Summary(last).c_str());
  return ExitCodeOf(last.state());
}

}  // namespace tiltshift::cli
