// Sharing the farm: whose turn it is, and what an idle worker takes over from a busy one.
#include <algorithm>

#include "scheduler/farm.h"
#include "scheduler/tenants.h"

namespace tiltshift::scheduler {
namespace {

constexpr int64_t kStealEveryMs =
    100;  // looks at every worker: not in every round where there is nothing
constexpr int64_t kLateEveryMs = 1'000;
constexpr double kLateMargin = 1.2;
constexpr double kUnknownShare = 0.6;
constexpr int64_t kLatePriority = 1'000'000;  // above all that can be asked for
constexpr double kLeastStolenSeconds = 0.05;  // below this the message costs more than it saves

}  // namespace

const TenantRule& Farm::RuleOf(const std::string& tenant) const {
  return scheduler::RuleOf(options_.tenants, tenant);
}

void Farm::AddLeased(JobState& job, int64_t variants) {
  job.leased += variants;
  leased_[job.spec.tenant()] += variants;
}

void Farm::AddStored(JobState& job, uint64_t bytes) {
  job.stored_bytes += bytes;
  stored_[job.spec.tenant()] += bytes;
}

uint64_t Farm::StoredBy(const std::string& tenant) const {
  const auto found = stored_.find(tenant);
  return found == stored_.end() ? 0 : found->second;
}

void Farm::Requeue(const JobState& job) {
  if (job.ended() || job.paused || job.pending.count() == 0) return queue_.Remove(job.id);
  const int64_t priority = job.priority + (job.late ? kLatePriority : 0);
  if (queue_.Holds(job.id, priority)) return;
  queue_.SetWeight(job.spec.tenant(), RuleOf(job.spec.tenant()).weight);
  queue_.Put(job.id, job.spec.tenant(), priority, job.order);
}

// Where workers differ, one that can is enough.
absl::Status Farm::CheckDemandsOf(const v1::JobSpec& spec) const {
  absl::Status refused;
  for (const auto& [id, worker] : workers_) {
    if (FindModel(worker.hello, spec.model()) == nullptr) continue;
    refused = CheckDemands(spec, worker.hello);
    if (refused.ok()) break;
  }
  return refused;
}

absl::Status Farm::MayAdd(const v1::JobSpec& spec) const {
  TS_RETURN_IF_ERROR(CheckDemandsOf(spec));
  const TenantRule& rule = RuleOf(spec.tenant());
  if (rule.stored != 0 && StoredBy(spec.tenant()) >= rule.stored) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "tenant ", spec.tenant(), " has outputs of ", StoredBy(spec.tenant()) / 1'000'000,
        " MB, as much as it may (", rule.stored / 1'000'000, " MB)"));
  }
  const uint64_t bound = rule.jobs;
  if (bound == 0) return absl::OkStatus();
  const auto has = std::count_if(active_.begin(), active_.end(), [&](const std::string& id) {
    return jobs_.at(id).spec.tenant() == spec.tenant();
  });
  if (static_cast<uint64_t>(has) < bound) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("tenant ", spec.tenant(), " has ", has,
                                                   " jobs that have not ended, as many as it may: "
                                                   "try again when one has"));
}

bool Farm::SetPaused(const std::string& id, bool paused, std::vector<Outgoing>& messages) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end() || found->second.ended()) return false;
  JobState& job = found->second;
  job.paused = paused;
  Requeue(job);
  Changed(job);
  if (!paused) return true;
  for (const auto& [token, lease] : leases_) {
    if (lease.job != &job) continue;
    Outgoing& message = messages.emplace_back();
    message.worker_id = lease.worker->id;
    message.message.mutable_trim()->set_token(token);
  }
  return true;
}

bool Farm::SetPriority(const std::string& id, int32_t priority) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return false;
  found->second.priority = priority;
  Requeue(found->second);
  Changed(found->second);
  return true;
}

void Farm::Retry(const store::StoredJob& stored, int64_t now_ms) {
  const auto found = jobs_.find(stored.id);
  if (found == jobs_.end()) return;
  JobState& job = found->second;
  job.committed = stored.committed;
  job.failed = stored.failed;
  job.ended_ms = stored.ended_ms;
  if (job.ended()) return;
  job.attempts.clear();
  job.failures.clear();
  job.failed_by.clear();
  job.pauses.clear();
  job.pending.Clear();
  AddMissing(job.variants, stored.done_bits, stored.failed_bits, job.pending);
  for (const auto& [token, lease] : leases_) {
    if (lease.job != &job) continue;
    for (const Range& range : lease.remaining) job.pending.TakeWithin(range);
  }
  job.recent.clear();
  job.recent.emplace_back(now_ms, job.committed);
  active_.insert(stored.id);
  Changed(job);
  Requeue(job);
}

double Farm::JobState::images_per_second() const {
  if (recent.size() < 2) return 0;
  const auto& [from_ms, from] = recent.front();
  const auto& [to_ms, to] = recent.back();
  return to_ms > from_ms && to > from ? 1000.0 * (to - from) / (to_ms - from_ms) : 0;
}

// Jobs that at their present rate would end after their deadline, or close to it, go before their
// tenant's others, and stay there: back in the row the rate would fall again. One that has no rate
// yet may wait half of its time.
void Farm::RaiseLate(int64_t now_ms) {
  if (now_ms - looked_late_ms_ < kLateEveryMs) return;
  looked_late_ms_ = now_ms;
  for (const std::string& id : active_) {
    JobState& job = jobs_.at(id);
    const int64_t deadline_ms = job.spec.deadline_unix_ms();
    if (deadline_ms == 0 || job.late) continue;
    const double rate = job.images_per_second() / kLateMargin;
    const double needs_ms =
        rate > 0 ? 1000.0 * static_cast<double>(job.left()) / rate
                 : kUnknownShare * static_cast<double>(deadline_ms - job.submitted_ms);
    if (static_cast<double>(now_ms) + needs_ms < static_cast<double>(deadline_ms)) continue;
    job.late = true;
    Requeue(job);
  }
}

double Farm::SecondsHeld(const WorkerState& worker) const {
  uint64_t variants = 0;
  for (const uint64_t token : worker.tokens) {
    for (const Range& range : leases_.at(token).remaining) variants += range.count;
  }
  return worker.seconds_per_variant * static_cast<double>(variants);
}

// Nothing waits that this worker could have: it takes the end of what another holds, as much as
// lets both end together. The other's newest lease goes first, for it is not begun, and of its
// oldest what its slots are at work on stays.
bool Farm::StealOne(WorkerState& worker, int64_t now_ms, Batch& batch,
                    std::vector<Outgoing>& messages) {
  if (!worker.tokens.empty() || worker.seconds_per_variant <= 0 || now_ms < steal_after_ms_)
    return false;
  uint64_t victim_token = 0;
  double latest = 0;
  for (const auto& [id, other] : workers_) {
    if (other.tokens.empty() || other.seconds_per_variant <= 0) continue;
    const uint64_t token = *other.tokens.rbegin();
    const LeaseState& lease = leases_.at(token);
    const JobState& job = *lease.job;
    if (lease.suspect || lease.lost > 0 || job.paused || Pauses(worker, job, now_ms) ||
        !WhyNot(job.spec, job.render_class, worker.hello).empty()) {
      continue;
    }
    const double seconds = SecondsHeld(other);
    if (seconds > latest) {
      latest = seconds;
      victim_token = token;
    }
  }
  if (victim_token == 0) {
    steal_after_ms_ = now_ms + kStealEveryMs;
    return false;
  }
  LeaseState& lease = leases_.at(victim_token);
  WorkerState& victim = *lease.worker;
  Range& last = lease.remaining.back();
  const uint64_t begun = victim.tokens.size() == 1 ? std::max(1u, victim.hello.slots()) : 0;
  const uint64_t end = last.first + last.count;
  const uint64_t most = last.count > begun || lease.remaining.size() > 1 ? last.count : 0;
  const double fair = latest / (victim.seconds_per_variant + worker.seconds_per_variant);
  uint64_t count = std::min<uint64_t>(most, static_cast<uint64_t>(fair));
  if (lease.remaining.size() == 1)
    count = std::min(count, last.count - std::min(begun, last.count));
  const double gain = latest - worker.seconds_per_variant * static_cast<double>(count);
  if (count == 0 || gain < kLeastStolenSeconds) {
    steal_after_ms_ = now_ms + kStealEveryMs;
    return false;
  }

  JobState& job = *lease.job;
  last.count -= count;
  if (last.count == 0) lease.remaining.pop_back();
  AddLeased(job, -static_cast<int64_t>(count));
  queue_.Charge(job.spec.tenant(),
                (worker.seconds_per_variant - lease.seconds_each) * static_cast<double>(count));
  Outgoing& message = messages.emplace_back();
  message.worker_id = victim.id;
  message.message.mutable_trim()->set_token(victim_token);
  message.message.mutable_trim()->set_end(end - count);
  ++stolen_;
  if (lease.remaining.empty()) {
    EndLease(victim_token, now_ms, 0, batch);
  } else {  // what Redis has of it shrinks as well
    const uint64_t first = lease.remaining.front().first;
    batch.jobs[job.id].grants.push_back(
        {victim_token, job.id, first, end - count - first, lease.lost, victim.id});
  }
  GrantRange(job, {{end - count, count}, 0, 0}, worker, now_ms, batch, messages);
  return true;
}

}  // namespace tiltshift::scheduler
