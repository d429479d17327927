// Workers that fail what others render are given nothing for a while.
//
// A worker that fails some variants of a job in a row gives the rest of its lease back and gets
// nothing of that job for a pause: so the variants come to others before their attempts are used
// up, and a job that nobody can render holds up itself alone. None is given the same one twice.
// Each of them that another worker then renders counts against the one that failed it; a few of
// those, and it is benched, the longer the more often. It is never the last one that could take
// leases.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "scheduler/farm.h"

namespace tiltshift::scheduler {
namespace {

constexpr uint32_t kFailedInARow = 3;
constexpr uint32_t kRenderedByOthers = 3;
constexpr int64_t kPauseMs = 30'000;
constexpr int64_t kBenchMs = 60'000;
constexpr int64_t kLongestBenchMs = 30 * 60'000;
constexpr size_t kMostRemembered = 10'000;

}  // namespace

bool Farm::IsBenched(const WorkerState& worker, int64_t now_ms) const {
  return now_ms < worker.benched_until_ms;
}

// Another worker could take this one's place.
bool Farm::HasStandIn(const WorkerState& worker, const JobState& job, int64_t now_ms) const {
  return std::any_of(workers_.begin(), workers_.end(), [&](const auto& entry) {
    const WorkerState& other = entry.second;
    return &other != &worker && other.connected && !other.draining && !IsBenched(other, now_ms) &&
           WhyNot(job.spec, job.render_class, other.hello).empty();
  });
}

// The variant is for another: this worker was the last to fail it.
bool Farm::FailedBy(const WorkerState& worker, const JobState& job, uint64_t index,
                    int64_t now_ms) const {
  const auto failed = job.failed_by.find(index);
  return failed != job.failed_by.end() && failed->second == worker.id &&
         HasStandIn(worker, job, now_ms);
}

bool Farm::Pauses(const WorkerState& worker, const JobState& job, int64_t now_ms) const {
  const auto pause = job.pauses.find(worker.id);
  return pause != job.pauses.end() && now_ms < pause->second && HasStandIn(worker, job, now_ms);
}

// Returns true where the worker is to give back what it holds of the job.
bool Farm::NoteFailure(WorkerState& worker, JobState& job, uint64_t index,
                       const std::string& reason, int64_t now_ms) {
  if (job.failed_by.size() < kMostRemembered) job.failed_by[index] = worker.id;
  worker.last_failure = reason;
  uint32_t& row = worker.failed_in_a_row[job.id];
  if (++row < kFailedInARow || !HasStandIn(worker, job, now_ms)) return false;
  row = 0;
  job.pauses[worker.id] = now_ms + kPauseMs;
  return true;
}

void Farm::NoteCommit(WorkerState& worker, JobState& job, const Range& range, int64_t now_ms) {
  if (!worker.failed_in_a_row.empty()) worker.failed_in_a_row.erase(job.id);
  auto failed = job.failed_by.lower_bound(range.first);
  while (failed != job.failed_by.end() && failed->first < range.first + range.count) {
    const auto culprit = workers_.find(failed->second);
    if (culprit != workers_.end() && &culprit->second != &worker)
      Blame(culprit->second, job, now_ms);
    failed = job.failed_by.erase(failed);
  }
}

void Farm::Blame(WorkerState& worker, const JobState& job, int64_t now_ms) {
  if (++worker.rendered_by_others < kRenderedByOthers || IsBenched(worker, now_ms) ||
      !HasStandIn(worker, job, now_ms)) {
    return;
  }
  worker.rendered_by_others = 0;
  const int64_t bench_ms =
      std::min(kLongestBenchMs, kBenchMs << std::min<uint32_t>(worker.times_benched, 10));
  ++worker.times_benched;
  ++benched_;
  worker.benched_until_ms = now_ms + bench_ms;
  worker.bench_reason =
      absl::StrCat("others rendered ", kRenderedByOthers,
                   " variants that it failed, the last time with: ", worker.last_failure);
}

}  // namespace tiltshift::scheduler
