// The life of a lease: what its worker makes of it, and how it ends.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/shortened.h"
#include "scheduler/farm.h"
#include "scheduler/message_checks.h"

namespace tiltshift::scheduler {
namespace {

constexpr int64_t kLongestBackoffMs = 30'000;
constexpr size_t kMostFailuresShown = 20;
constexpr double kRateMemory = 0.8;  // share of the old estimate kept at each turn

// The part of `take` that is in `ranges`, taken out of it.
std::vector<Range> Subtract(std::vector<Range>& ranges, const Range& take) {
  std::vector<Range> left, taken;
  const uint64_t take_end = take.first + take.count;
  if (ranges.size() == 1 && take.first <= ranges[0].first &&
      ranges[0].first + ranges[0].count <= take_end) {
    taken.swap(ranges);  // of most turns
    return taken;
  }
  for (const Range& range : ranges) {
    const uint64_t end = range.first + range.count;
    const uint64_t low = std::max(range.first, take.first), high = std::min(end, take_end);
    if (low >= high) {
      left.push_back(range);
      continue;
    }
    taken.push_back({low, high - low});
    if (range.first < low) left.push_back({range.first, low - range.first});
    if (high < end) left.push_back({high, end - high});
  }
  ranges = std::move(left);
  return taken;
}

}  // namespace

std::vector<uint64_t> Farm::TakeOutcomes(const std::string& worker_id, const v1::Turn& turn,
                                         int64_t now_ms, Batch& batch) {
  std::vector<uint64_t> stale;
  const auto worker = workers_.find(worker_id);
  if (worker == workers_.end()) return stale;
  worker->second.want = turn.want_leases();
  Want(worker->second);
  for (const v1::Outcome& outcome : turn.outcomes()) {
    const auto lease = leases_.find(outcome.token());
    const bool own = lease != leases_.end() && lease->second.worker == &worker->second &&
                     lease->second.job->id == outcome.job_id();
    if (!own || !TakeOutcome(outcome, lease->second, now_ms, batch))
      stale.push_back(outcome.token());
  }
  return stale;
}

bool Farm::TakeOutcome(const v1::Outcome& outcome, LeaseState& lease, int64_t now_ms,
                       Batch& batch) {
  JobState& job = *lease.job;
  WorkerState& worker = *lease.worker;
  lease.deadline_ms = now_ms + options_.lease_ttl_ms;
  store::StoredOutcome stored;
  stored.token = outcome.token();
  uint64_t variants = 0, told = 0;
  for (const auto& range : outcome.committed()) {
    told += range.count();
    for (const Range& taken : Subtract(lease.remaining, {range.first(), range.count()})) {
      stored.committed.push_back(ToProto(taken));
      variants += taken.count;
      NoteCommit(worker, job, taken, now_ms);
    }
  }
  AddLeased(job, -static_cast<int64_t>(variants));
  AddStored(job, variants == told ? outcome.stored_bytes()
                                  : outcome.stored_bytes() / told * variants);  // told again
  worker.committed += variants;
  if (variants > 0) {
    const double share = static_cast<double>(variants) / static_cast<double>(told);
    NoteRenders(job, worker, outcome, variants, share);
  }
  bool gives_back = false;
  for (const auto& failed : outcome.failed()) {
    if (Subtract(lease.remaining, {failed.index(), 1}).empty()) continue;
    AddLeased(job, -1);
    TakeFailure(job, failed, now_ms, stored);
    if (failed.vetoed()) continue;  // no worker could do better
    gives_back = NoteFailure(worker, job, failed.index(), failed.reason(), now_ms) || gives_back;
  }
  if (variants > 0 && outcome.render_seconds() > 0) {
    const uint32_t slots = std::max(1u, worker.hello.slots());
    const double measured = outcome.render_seconds() / static_cast<double>(variants) / slots;
    worker.seconds_per_variant =
        worker.seconds_per_variant == 0
            ? measured
            : kRateMemory * worker.seconds_per_variant + (1 - kRateMemory) * measured;
  }
  const uint32_t slots = std::max(1u, worker.hello.slots());
  queue_.Charge(job.spec.tenant(), outcome.render_seconds() / slots -
                                       lease.seconds_each * static_cast<double>(variants));
  Changed(job);
  if (!stored.committed.empty() || !stored.failed.empty())
    batch.jobs[job.id].outcomes.push_back(std::move(stored));
  const bool drops = gives_back && !outcome.released() && !lease.remaining.empty();
  if (gives_back || outcome.released() || lease.remaining.empty())
    EndLease(outcome.token(), now_ms, lease.lost, batch);
  return !drops;
}

void Farm::TakeFailure(JobState& job, const v1::FailedVariant& failed, int64_t now_ms,
                       store::StoredOutcome& stored) {
  const uint32_t attempts = ++job.attempts[failed.index()];
  const bool is_final = failed.vetoed() || attempts >= options_.failed_attempts;
  const std::string reason = Shortened(failed.reason(), kLongestReason);
  stored.failed.push_back({failed.index(), is_final, attempts, reason});
  if (is_final) job.failed_by.erase(failed.index());
  if (!is_final) {
    ++retried_;
    const int64_t wait =
        std::min(kLongestBackoffMs, options_.backoff_ms << std::min(attempts - 1, 20u));
    job.pending.Add({{failed.index(), 1}, 0, now_ms + wait});
    Requeue(job);
    return;
  }
  if (job.failures.size() < kMostFailuresShown) {
    v1::FailedVariant& shown = job.failures[failed.index()];
    shown.set_index(failed.index());
    shown.set_reason(reason);
    shown.set_attempts(attempts);
    shown.set_vetoed(failed.vetoed());
  }
}

void Farm::EndLease(uint64_t token, int64_t ready_ms, uint32_t lost, Batch& batch) {
  const auto found = leases_.find(token);
  TS_CHECK(found != leases_.end());
  LeaseState& lease = found->second;
  JobState& job = *lease.job;
  for (const Range& range : lease.remaining) job.pending.Add({range, lost, ready_ms});
  const uint64_t left = Total(lease.remaining);
  AddLeased(job, -static_cast<int64_t>(left));
  queue_.Charge(job.spec.tenant(), -lease.seconds_each * static_cast<double>(left));
  Requeue(job);
  Changed(job);
  batch.releases.push_back(token);
  WorkerState& worker = *lease.worker;
  leases_.erase(found);
  worker.tokens.erase(token);
  Want(worker);
  if (!worker.connected && worker.tokens.empty()) workers_.erase(std::string(worker.id));
}

// A single variant over which worker after worker was lost: it has failed.
void Farm::GiveUp(uint64_t token, Batch& batch) {
  LeaseState& lease = leases_.at(token);
  JobState& job = *lease.job;
  const uint64_t index = lease.remaining[0].first;
  const uint32_t lost = lease.lost + 1;
  ++quarantined_;
  const std::string reason =
      absl::StrCat("its worker was lost ", lost, " times while rendering it");
  store::StoredOutcome stored{token, {}, {{index, true, lost, reason}}};
  v1::FailedVariant& shown = job.failures[index];
  shown.set_index(index);
  shown.set_attempts(lost);
  shown.set_reason(reason);
  batch.jobs[job.id].outcomes.push_back(std::move(stored));
  AddLeased(job, -1);
  lease.remaining.clear();
}

bool Farm::HasLease(const std::string& worker_id, uint64_t token, const std::string& job_id) const {
  const auto lease = leases_.find(token);
  return lease != leases_.end() && lease->second.worker->id == worker_id &&
         lease->second.job->id == job_id;
}

void Farm::Heartbeat(const std::string& worker_id, const v1::Heartbeat& heartbeat, int64_t now_ms) {
  if (const auto worker = workers_.find(worker_id); worker != workers_.end()) {
    const auto& loaded = heartbeat.loaded_models();
    worker->second.loaded = {loaded.begin(), loaded.end()};
    worker->second.device_status.reset();
    if (heartbeat.has_device_status()) worker->second.device_status = heartbeat.device_status();
    worker->second.slots_busy = heartbeat.slots_busy();
  }
  for (const uint64_t token : heartbeat.held_tokens()) {
    const auto lease = leases_.find(token);
    if (lease != leases_.end() && lease->second.worker->id == worker_id) {
      lease->second.deadline_ms = now_ms + options_.lease_ttl_ms;
    }
  }
}

void Farm::Expire(int64_t now_ms, Batch& batch, std::vector<Outgoing>& messages) {
  if (now_ms < expire_after_ms_) return;
  // Deadlines move away, and those of later leases are farther off than this.
  expire_after_ms_ = now_ms + options_.lease_ttl_ms;
  std::vector<uint64_t> late;
  for (const auto& [token, lease] : leases_) {
    if (lease.deadline_ms <= now_ms) {
      late.push_back(token);
    } else {
      expire_after_ms_ = std::min(expire_after_ms_, lease.deadline_ms);
    }
  }
  for (const uint64_t token : late) {
    ++expired_;
    LeaseState& lease = leases_.at(token);
    Outgoing& message = messages.emplace_back();
    message.worker_id = lease.worker->id;
    message.message.mutable_revoke()->set_token(token);
    message.message.mutable_revoke()->set_reason("no heartbeat named this lease in time");
    const uint32_t lost = lease.suspect ? lease.lost + 1 : 1;
    if (lease.suspect && lost >= options_.lost_alone) GiveUp(token, batch);
    const int64_t wait =
        std::min(kLongestBackoffMs, options_.backoff_ms << std::min(lost - 1, 20u));
    EndLease(token, now_ms + wait, lost, batch);
  }
}

}  // namespace tiltshift::scheduler
