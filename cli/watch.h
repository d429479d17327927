// Following a job to its end.
#pragma once

#include <string>

#include "cli/client.h"
#include "cli/commands.h"

namespace tiltshift::cli {

// The exit code an ended job stands for.
ExitCode ExitCodeOf(v1::JobState state);

// Shows progress until the job has ended, and why where there is none, then its summary. Cancelled
// on Ctrl-C: the job goes on.
absl::StatusOr<ExitCode> WatchJob(FarmClient& client, const std::string& job_id, bool json);

}  // namespace tiltshift::cli
