// Why things are where they are (I9): what `tiltshift explain` prints.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "scheduler/farm.h"

namespace tiltshift::scheduler {
namespace {

std::string Seconds(double seconds) {
  if (seconds < 90) return absl::StrFormat("%.0f s", std::max(0.0, seconds));
  if (seconds < 5'400) return absl::StrFormat("%.0f minutes", seconds / 60);
  return absl::StrFormat("%.1f hours", seconds / 3'600);
}

std::string Count(uint64_t count, const char* what) {
  return absl::StrCat(count, " ", what, count == 1 ? "" : "s");
}

bool Holds(const std::vector<Range>& ranges, uint64_t index) {
  return std::any_of(ranges.begin(), ranges.end(), [&](const Range& range) {
    return range.first <= index && index < range.first + range.count;
  });
}

}  // namespace

absl::StatusOr<std::string> Farm::ExplainJob(const std::string& id, int64_t now_ms) const {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return absl::NotFoundError(absl::StrCat("there is no job ", id));
  const JobState& job = found->second;
  const std::string progress =
      absl::StrCat(job.committed, " of ", job.variants, " are rendered",
                   job.failed > 0 ? absl::StrCat(", ", job.failed, " failed") : "");
  if (job.cancelled) return absl::StrCat("Job ", id, " was cancelled: ", progress, ".");
  if (job.ended()) {
    std::string text = absl::StrCat("Job ", id, " has ended: ", progress, ".");
    if (job.failed > 0)
      absl::StrAppend(&text, " `tiltshift retry ", id, "` renders the failed ones again.");
    return text;
  }
  std::string text = absl::StrCat("Job ", id, ": ", progress, ", ", job.leased,
                                  " are with workers, ", job.pending.count(), " wait.");
  if (job.paused) {
    return absl::StrCat(text, " It is paused: nothing new is begun until `tiltshift resume ", id,
                        "`.");
  }
  if (const double rate = job.images_per_second(); rate > 0) {
    absl::StrAppend(&text, " At ", absl::StrFormat("%.2g", rate), " images a second it needs ",
                    Seconds(static_cast<double>(job.left()) / rate), " more.");
  }
  const auto workers = std::count_if(workers_.begin(), workers_.end(), [](const auto& worker) {
    return worker.second.connected && !worker.second.draining;
  });
  if (workers == 0) return text + " No worker is connected: start tiltshift-worker.";
  if (job.late)
    absl::StrAppend(&text, " It would miss its deadline, so it goes before its tenant's others.");
  if (job.pending.count() == 0) return text + " Nothing of it waits for a worker.";
  if (!job.pending.AnyReady(now_ms)) {
    return text +
           " What waits has failed or lost its worker before, and is tried again after a pause.";
  }
  const std::string& tenant = job.spec.tenant();
  const TenantRule& rule = RuleOf(tenant);
  const auto leased = leased_.find(tenant);
  if (rule.leased != 0 && leased != leased_.end() && leased->second >= rule.leased) {
    return absl::StrCat(text, " Its tenant, ", tenant, ", has ", leased->second,
                        " variants with workers, as many as it may.");
  }
  if (rule.stored != 0 && StoredBy(tenant) >= rule.stored) {
    return absl::StrCat(text, " Its tenant, ", tenant, ", has outputs of ",
                        StoredBy(tenant) / 1'000'000, " MB, as much as it may.");
  }
  if (const std::string why = WhyNobody(job, now_ms); !why.empty()) return text + why;
  const uint64_t before = queue_.JobsBefore(id);
  if (before > 0) {
    absl::StrAppend(&text, " ", Count(before, "job"), before == 1 ? " goes" : " go",
                    " before it: tenant ", tenant, " is ", Seconds(std::abs(queue_.Ahead(tenant))),
                    " of rendering ", queue_.Ahead(tenant) > 0 ? "ahead of" : "behind",
                    " its share, the job's priority is ", job.priority, ".");
    return text;
  }
  const auto idle = std::count_if(workers_.begin(), workers_.end(), [](const auto& worker) {
    return worker.second.connected && !worker.second.draining && worker.second.tokens.empty();
  });
  if (idle == 0) {
    return absl::StrCat(text, " It is next: all ", Count(workers, "worker"),
                        workers == 1 ? " is" : " are", " busy.");
  }
  return absl::StrCat(text, " It is next, and ", Count(idle, "worker"), " will ask soon.");
}

// Of a job that no connected worker could be given; empty: one could.
std::string Farm::WhyNobody(const JobState& job, int64_t now_ms) const {
  std::map<std::string, uint64_t> reasons;
  for (const auto& [id, worker] : workers_) {
    if (!worker.connected || worker.draining) continue;
    std::string why = WhyNot(job.spec, job.render_class, worker.hello);
    if (why.empty() && IsBenched(worker, now_ms)) why = "is benched";
    if (why.empty()) return "";
    ++reasons[why];
  }
  std::vector<std::string> parts;
  for (const auto& [why, workers] : reasons) {
    if (parts.size() == 3) break;
    parts.push_back(absl::StrCat(Count(workers, "worker"), " ", why));
  }
  return absl::StrCat(" No worker can take it: ", absl::StrJoin(parts, "; "), ".");
}

absl::StatusOr<std::string> Farm::ExplainVariant(const std::string& id, uint64_t index,
                                                 int64_t now_ms) const {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return absl::NotFoundError(absl::StrCat("there is no job ", id));
  const JobState& job = found->second;
  if (index >= job.variants) {
    return absl::NotFoundError(
        absl::StrCat("job ", id, " has variants 0 to ", job.variants - 1, ", no ", index));
  }
  std::string text = absl::StrCat("Variant ", index, " of job ", id);
  if (const auto failure = job.failures.find(index); failure != job.failures.end()) {
    return absl::StrCat(text, " failed after ", Count(failure->second.attempts(), "attempt"), ": ",
                        failure->second.reason(), ".");
  }
  for (const auto& [token, lease] : leases_) {
    if (lease.job != &job || !Holds(lease.remaining, index)) continue;
    absl::StrAppend(&text, " is with worker ", lease.worker->id, " under lease ", token);
    if (lease.lost > 0)
      absl::StrAppend(&text, "; ", Count(lease.lost, "worker"), " were lost over it before");
    if (!lease.worker->connected) {
      absl::StrAppend(&text, ", whose connection is lost: the lease ends in ",
                      Seconds((lease.deadline_ms - now_ms) / 1000.0), " unless it comes back");
    }
    return text + ".";
  }
  if (const auto* waiting = job.pending.Find(index); waiting != nullptr) {
    const auto attempts = job.attempts.find(index);
    if (attempts != job.attempts.end()) {
      absl::StrAppend(&text, " failed ", Count(attempts->second, "time"), " and");
    } else if (waiting->lost > 0) {
      absl::StrAppend(&text, " was with ", Count(waiting->lost, "worker"), " that died, and");
    }
    absl::StrAppend(&text, " waits");
    if (waiting->ready_ms > now_ms) {
      absl::StrAppend(&text, " ", Seconds((waiting->ready_ms - now_ms) / 1000.0),
                      " before it is tried again");
    } else if (!job.paused && !job.ended()) {
      absl::StrAppend(&text, " for a worker");
    }
    absl::StrAppend(&text, job.paused ? ": the job is paused." : ".");
    return text;
  }
  if (job.cancelled)
    return text + " was not rendered before the job was cancelled, or is one of the rendered.";
  return text + " is rendered, or failed: the job's outputs and failures say which.";
}

absl::StatusOr<std::string> Farm::ExplainWorker(const std::string& id, int64_t now_ms) const {
  const auto found = workers_.find(id);
  if (found == workers_.end()) {
    return absl::NotFoundError(
        absl::StrCat("there is no worker ", id, "; `tiltshift workers` shows them"));
  }
  const WorkerState& worker = found->second;
  std::string text = absl::StrCat("Worker ", id, " (", worker.hello.device(), ")");
  if (!worker.connected) {
    int64_t deadline = now_ms;
    for (const uint64_t token : worker.tokens)
      deadline = std::max(deadline, leases_.at(token).deadline_ms);
    return absl::StrCat(
        text, " lost its connection and has ", Seconds((deadline - now_ms) / 1000.0),
        " to come back before others get its ", Count(worker.tokens.size(), "lease"), ".");
  }
  if (IsBenched(worker, now_ms)) {
    return absl::StrCat(text, " is benched for another ",
                        Seconds((worker.benched_until_ms - now_ms) / 1000.0), ": ",
                        worker.bench_reason, ".");
  }
  if (!worker.tokens.empty()) {
    std::vector<std::string> held;
    for (const uint64_t token : worker.tokens) {
      const LeaseState& lease = leases_.at(token);
      uint64_t variants = 0;
      for (const Range& range : lease.remaining) variants += range.count;
      held.push_back(absl::StrCat(Count(variants, "variant"), " of ", lease.job->id));
    }
    absl::StrAppend(&text, " renders ", absl::StrJoin(held, " and "));
    if (worker.seconds_per_variant > 0) {
      absl::StrAppend(&text, ", done in ", Seconds(SecondsHeld(worker)));
    }
    return text + (worker.draining ? ", and leaves then." : ".");
  }
  if (worker.draining) return text + " is leaving: it takes no more leases.";
  const auto waiting = std::count_if(active_.begin(), active_.end(), [&](const std::string& job) {
    return jobs_.at(job).pending.count() > 0;
  });
  if (waiting == 0)
    return text +
           " is idle: no job has variants that wait, and nobody holds more than it could take "
           "over.";
  return absl::StrCat(
      text, " is idle, although ", Count(waiting, "job"),
      " wait: they are paused, in a pause before another attempt, at their tenant's bound, or "
      "want what this worker is not;"
      " `tiltshift explain` of each says which.");
}

}  // namespace tiltshift::scheduler
