// Who is given which variants.
#include <algorithm>
#include <optional>
#include <utility>

#include "scheduler/farm.h"

namespace tiltshift::scheduler {
namespace {

constexpr uint64_t kLargestLease = 1'000'000;
constexpr int64_t kLongestPassedOverMs = 5'000;

}  // namespace

uint64_t Farm::LeaseSize(const JobState& job, const WorkerState& worker) {
  const uint64_t left = job.pending.count();
  const uint64_t tail = std::max<uint64_t>(1, left / (2 * std::max<uint64_t>(1, Takers())));
  if (worker.seconds_per_variant <= 0) {
    return std::min<uint64_t>(tail,
                              std::max(1u, worker.hello.slots()));  // a first lease to measure
  }
  const double target = options_.target_lease_ms / 1000.0 / worker.seconds_per_variant;
  return std::clamp<uint64_t>(static_cast<uint64_t>(std::min(target, 1e9)), 1,
                              std::min(tail, kLargestLease));
}

bool Farm::HoldsSuspect(const WorkerState& worker) const {
  return std::any_of(worker.tokens.begin(), worker.tokens.end(),
                     [&](uint64_t token) { return leases_.at(token).suspect; });
}

// A job whose turn it is and that the worker may have, with the range that it gets; empty: none.
// `with_its_models`: only jobs whose model it has loaded, and those that were passed over for long.
Farm::JobState* Farm::PlaceFor(WorkerState& worker, bool with_its_models, int64_t now_ms,
                               std::optional<PendingRange>& taken) {
  bool waits_for_suspect = false;  // it gets it once it is free
  JobState* place = nullptr;
  const auto take = [&](const std::string& id, double* seconds) {
    if (waits_for_suspect) return false;
    JobState& job = jobs_.at(id);
    if (!WhyNot(job.spec, job.render_class, worker.hello).empty() || Pauses(worker, job, now_ms)) {
      return false;
    }
    if (with_its_models && worker.loaded.count(job.renders_with) == 0) {
      if (job.passed_over_ms == 0) job.passed_over_ms = now_ms;
      if (now_ms - job.passed_over_ms < kLongestPassedOverMs) return false;
    }
    uint64_t most = LeaseSize(job, worker);
    const TenantRule& rule = RuleOf(job.spec.tenant());
    if (rule.stored != 0 && StoredBy(job.spec.tenant()) >= rule.stored) return false;
    if (rule.leased != 0) {
      const uint64_t has = leased_[job.spec.tenant()];
      if (has >= rule.leased) return false;
      most = std::min(most, rule.leased - has);
    }
    const auto skip = [&](uint64_t index) { return FailedBy(worker, job, index, now_ms); };
    waits_for_suspect = !worker.tokens.empty() && job.pending.NextIsSuspect(most, now_ms, skip);
    if (waits_for_suspect) return false;
    taken = job.pending.Take(most, now_ms, skip);
    if (!taken.has_value()) return false;
    place = &job;
    job.passed_over_ms = 0;
    *seconds = worker.seconds_per_variant * static_cast<double>(taken->range.count);
    return true;
  };
  queue_.Offer(take);
  return place;
}

bool Farm::GrantOne(WorkerState& worker, int64_t now_ms, Batch& batch,
                    std::vector<Outgoing>& messages) {
  std::optional<PendingRange> taken;
  JobState* job = nullptr;
  if (!worker.loaded.empty()) job = PlaceFor(worker, true, now_ms, taken);
  if (job == nullptr) job = PlaceFor(worker, false, now_ms, taken);
  if (job == nullptr) return false;
  GrantRange(*job, *taken, worker, now_ms, batch, messages);
  Requeue(*job);
  return true;
}

void Farm::GrantRange(JobState& job, const PendingRange& taken, WorkerState& worker, int64_t now_ms,
                      Batch& batch, std::vector<Outgoing>& messages) {
  const uint64_t token = ++last_token_;
  ++granted_;
  leases_[token] = {&job,
                    &worker,
                    {taken.range},
                    taken.lost,
                    now_ms + options_.lease_ttl_ms,
                    taken.suspect(),
                    worker.seconds_per_variant};
  worker.tokens.insert(token);
  AddLeased(job, static_cast<int64_t>(taken.range.count));
  if (job.started_ms == 0) job.started_ms = now_ms;
  if (job.spec.strict() && job.render_class.empty()) {
    job.render_class = RenderClassOn(job.spec, worker.hello);
    batch.bound[job.id] = job.render_class;
  }
  Changed(job);
  batch.jobs[job.id].grants.push_back(
      {token, job.id, taken.range.first, taken.range.count, taken.lost, worker.id});
  Outgoing& message = messages.emplace_back();
  message.worker_id = worker.id;
  v1::Lease& lease = *message.message.mutable_lease();
  lease.set_token(token);
  lease.set_job_id(job.id);
  *lease.mutable_range() = ToProto(taken.range);
  lease.set_attempt(taken.lost + 1);
  if (worker.knows_jobs.insert(job.id).second) *lease.mutable_spec() = job.spec;
}

uint64_t Farm::Takers() {
  if (!takers_.has_value()) {
    takers_ = std::count_if(workers_.begin(), workers_.end(), [](const auto& worker) {
      return worker.second.connected && !worker.second.draining;
    });
  }
  return *takers_;
}

void Farm::Assign(int64_t now_ms, Batch& batch, std::vector<Outgoing>& messages) {
  batch.releases.insert(batch.releases.end(), over_.begin(), over_.end());
  over_.clear();
  Expire(now_ms, batch, messages);
  RaiseLate(now_ms);
  // One lease each in turn, so that no worker takes all of a short job.
  bool any = true;
  while (any && !(queue_.empty() && now_ms < steal_after_ms_)) {
    any = false;
    size_t still = 0;
    for (size_t i = 0; i < wanting_.size(); ++i) {  // whoever is robbed joins them
      WorkerState& worker = *wanting_[i];
      const auto wants = [&] { return !worker.draining && worker.tokens.size() < worker.want; };
      if (wants() && !HoldsSuspect(worker) && !IsBenched(worker, now_ms)) {
        any = GrantOne(worker, now_ms, batch, messages) ||
              StealOne(worker, now_ms, batch, messages) || any;
      }
      worker.in_wanting = wants();
      if (worker.in_wanting) wanting_[still++] = &worker;
    }
    wanting_.resize(still);
  }
}

}  // namespace tiltshift::scheduler
