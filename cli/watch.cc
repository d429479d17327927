#include "cli/watch.h"

#include <chrono>
#include <cstdio>
#include <utility>

#include "cli/format.h"

namespace tiltshift::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kPatienceMs = 60'000;  // a scheduler may restart meanwhile
constexpr auto kSilence = std::chrono::seconds(5);

// Where nothing comes for a while, what the farm says about that; the same is said once.
class WhyNothingComes {
 public:
  explicit WhyNothingComes(const FarmClient& client) : client_(client) {}

  void See(const v1::Job& job, Progress& progress) {
    const auto now = Clock::now();
    const uint64_t ended = job.committed() + job.failed();
    if (std::exchange(ended_, ended) != ended) since_ = now;
    if (now - since_ < kSilence || job.ended_unix_ms() != 0) return;
    since_ = now;
    v1::ExplainRequest request;
    request.set_job_id(job.id());
    const auto why = client_.Explain(request);
    if (!why.ok() || why->text() == said_) return;
    said_ = why->text();
    progress.End();
    std::fprintf(stderr, "%s\n", said_.c_str());
  }

 private:
  FarmClient client_;
  Clock::time_point since_ = Clock::now();
  uint64_t ended_ = 0;
  std::string said_;
};

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
  WhyNothingComes why(client);
  const absl::Status watched = client.Watch(job_id, kPatienceMs, [&](const v1::Job& job) {
    if (job.id().empty()) return !Interrupted();
    last = job;
    progress.Show(job);
    if (!json) why.See(job, progress);
    return !Interrupted();
  });
  progress.End();
  TS_RETURN_IF_ERROR(watched);
  if (!json) std::fprintf(stderr, "%s\n", Summary(last).c_str());
  return ExitCodeOf(last.state());
}

}  // namespace tiltshift::cli
