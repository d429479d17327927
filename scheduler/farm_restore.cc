// How a Farm takes up what Redis holds.
#include <algorithm>
#include <utility>

#include "plan/model_variant.h"
#include "scheduler/farm.h"

namespace tiltshift::scheduler {
namespace {

// More tokens than a Redis can lose that comes back without its last second.
constexpr uint64_t kTokenGap = 1'000'000;
constexpr uint64_t kTokensAMs = 1'024;  // tokens stay below 2^53, which Lua counts exactly

}  // namespace

void Farm::Restore(const store::StoredFarm& stored, int64_t now_ms) {
  // Beyond what earlier leaders may have granted and Redis has lost; the epoch tells them apart.
  last_token_ = stored.last_token;
  for (const store::StoredLease& from : stored.leases)
    last_token_ = std::max(last_token_, from.token);
  // I3: above every token of an earlier leader, also those that Redis forgot: by the clock, which
  // no leader's grants overtake, and, where that is behind another machine's, apart from them.
  if (last_token_ > 0) last_token_ += kTokenGap + epoch_ % kTokenGap;
  last_token_ = std::max(last_token_, kTokensAMs * static_cast<uint64_t>(now_ms));
  for (const store::StoredJob& from : stored.jobs) {
    JobState& job = NewJob(from.id, from.spec);
    job.variants = from.variants;
    job.committed = from.committed;
    job.failed = from.failed;
    job.submitted_ms = from.submitted_ms;
    job.waiting_since_ms = from.submitted_ms;
    job.started_ms = from.started_ms;
    job.ended_ms = from.ended_ms;
    job.cancelled = from.cancelled;
    job.paused = from.paused;
    job.render_class = from.render_class;
    AddStored(job, from.stored_bytes);
    job.priority = from.priority.value_or(from.spec.priority());
    job.attempts = from.attempts;
    for (const auto& [index, reason] : from.failures) {
      v1::FailedVariant& failure = job.failures[index];
      failure.set_index(index);
      failure.set_reason(reason);
      failure.set_attempts(job.attempts.count(index) != 0 ? job.attempts[index] : 0);
    }
    if (job.ended()) continue;
    active_.insert(from.id);
    AddMissing(job.variants, from.done_bits, from.failed_bits, job.pending);
  }
  for (const store::StoredLease& from : stored.leases) {
    const auto job = jobs_.find(from.job_id);
    if (job == jobs_.end() || job->second.ended()) {
      over_.push_back(from.token);
      continue;
    }
    std::vector<Range> remaining = job->second.pending.TakeWithin({from.first, from.count});
    if (remaining.empty()) {
      over_.push_back(from.token);
      continue;
    }
    AddLeased(job->second, static_cast<int64_t>(Total(remaining)));
    WorkerState& worker = WorkerCalled(from.worker_id);
    worker.tokens.insert(from.token);
    leases_[from.token] = {&job->second,
                           &worker,
                           std::move(remaining),
                           from.lost,
                           now_ms + options_.lease_ttl_ms,
                           from.count == 1 && from.lost > 0};
  }
  for (const std::string& id : active_) Requeue(jobs_.at(id));
}

void Farm::Reconcile(const store::StoredFarm& stored, int64_t now_ms, Batch& batch,
                     std::vector<Outgoing>& messages) {
  const auto workers = std::exchange(workers_, {});
  const auto leases = std::exchange(leases_, {});
  const uint64_t last_token = last_token_;
  for (const std::string& id : order_) queue_.Remove(id);
  leased_.clear();
  stored_.clear();
  rendered_.clear();
  wanting_.clear();
  changed_.clear();
  jobs_.clear();
  order_.clear();
  active_.clear();
  Restore(stored, now_ms);
  last_token_ = std::max(last_token_, last_token);
  expire_after_ms_ = 0;
  takers_.reset();
  for (const auto& [id, before] : workers) {
    if (!before.connected) continue;
    WorkerState& worker = WorkerCalled(id);
    std::set<uint64_t> tokens = std::move(worker.tokens);
    worker = before;
    worker.tokens = std::move(tokens);
    worker.in_wanting = false;
    Want(worker);
  }
  std::vector<uint64_t> ended;  // here, but not in what Redis has
  for (const auto& [token, lease] : leases_) {
    if (leases.count(token) == 0) ended.push_back(token);
  }
  for (const uint64_t token : ended) EndLease(token, now_ms, leases_.at(token).lost, batch);
  for (const auto& [token, lease] : leases) {
    if (leases_.count(token) != 0) {
      Narrow(token, lease.remaining, now_ms, batch);
      continue;
    }
    Outgoing& message = messages.emplace_back();
    message.worker_id = lease.worker->id;
    message.message.mutable_revoke()->set_token(token);
    message.message.mutable_revoke()->set_reason("Redis came back without this lease");
  }
}

void Farm::Narrow(uint64_t token, const std::vector<Range>& to, int64_t now_ms, Batch& batch) {
  LeaseState& lease = leases_.at(token);
  JobState& job = *lease.job;
  for (const Range& range : lease.remaining) job.pending.Add({range, lease.lost, now_ms});
  const auto before = static_cast<int64_t>(Total(lease.remaining));
  lease.remaining.clear();
  for (const Range& range : to) {
    for (const Range& kept : job.pending.TakeWithin(range)) lease.remaining.push_back(kept);
  }
  AddLeased(job, static_cast<int64_t>(Total(lease.remaining)) - before);
  Requeue(job);
  if (lease.remaining.empty()) EndLease(token, now_ms, lease.lost, batch);
}

}  // namespace tiltshift::scheduler
