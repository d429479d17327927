#include "scheduler/farm.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "plan/model_variant.h"
#include "scheduler/message_checks.h"

namespace tiltshift::scheduler {
namespace {

constexpr int64_t kLongestBackoffMs = 30'000;
constexpr uint64_t kLargestLease = 1'000'000;
constexpr size_t kMostFailuresShown = 20;
constexpr int64_t kRateWindowMs = 60'000;
constexpr int64_t kLongestPassedOverMs = 5'000;
// More tokens than a Redis can lose that comes back without its last second.
constexpr uint64_t kTokenGap = 1'000'000;
constexpr uint64_t kTokensAMs = 1'024;  // tokens stay below 2^53, which Lua counts exactly
constexpr double kRateMemory = 0.8;     // share of the old estimate kept at each turn

uint64_t Total(const std::vector<Range>& ranges) {
  uint64_t total = 0;
  for (const Range& range : ranges) total += range.count;
  return total;
}

// The part of `take` that is in `ranges`, taken out of it.
std::vector<Range> Subtract(std::vector<Range>& ranges, const Range& take) {
  std::vector<Range> left, taken;
  const uint64_t take_end = take.first + take.count;
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

v1::VariantRange ToProto(const Range& range) {
  v1::VariantRange out;
  out.set_first(range.first);
  out.set_count(range.count);
  return out;
}

}  // namespace

void Farm::AddJob(const std::string& id, const v1::JobSpec& spec, uint64_t variants,
                  int64_t now_ms) {
  if (jobs_.count(id) != 0) return;
  JobState& job = jobs_[id];
  job.spec = spec;
  job.renders_with = plan::ModelVariant(spec);
  job.variants = variants;
  job.submitted_ms = now_ms;
  job.priority = spec.priority();
  job.order = order_.size();
  job.pending.Add({{0, variants}, 0, 0});
  order_.push_back(id);
  active_.insert(id);
  changed_.insert(id);
  Requeue(id, job);
}

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
    JobState& job = jobs_[from.id];
    job.spec = from.spec;
    job.renders_with = plan::ModelVariant(from.spec);
    job.variants = from.variants;
    job.committed = from.committed;
    job.failed = from.failed;
    job.submitted_ms = from.submitted_ms;
    job.started_ms = from.started_ms;
    job.ended_ms = from.ended_ms;
    job.cancelled = from.cancelled;
    job.paused = from.paused;
    job.render_class = from.render_class;
    AddStored(job, from.stored_bytes);
    job.priority = from.priority.value_or(from.spec.priority());
    job.order = order_.size();
    job.attempts = from.attempts;
    for (const auto& [index, reason] : from.failures) {
      v1::FailedVariant& failure = job.failures[index];
      failure.set_index(index);
      failure.set_reason(reason);
      failure.set_attempts(job.attempts.count(index) != 0 ? job.attempts[index] : 0);
    }
    order_.push_back(from.id);
    changed_.insert(from.id);
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
    LeaseState lease{from.job_id,
                     from.worker_id,
                     {},
                     from.lost,
                     now_ms + options_.lease_ttl_ms,
                     from.count == 1 && from.lost > 0};
    lease.remaining = job->second.pending.TakeWithin({from.first, from.count});
    if (lease.remaining.empty()) {
      over_.push_back(from.token);
      continue;
    }
    AddLeased(job->second, static_cast<int64_t>(Total(lease.remaining)));
    workers_[from.worker_id].tokens.insert(from.token);
    leases_.emplace(from.token, std::move(lease));
  }
  for (const std::string& id : active_) Requeue(id, jobs_.at(id));
}

void Farm::Reconcile(const store::StoredFarm& stored, int64_t now_ms, Batch& batch,
                     std::vector<Outgoing>& messages) {
  const auto workers = std::exchange(workers_, {});
  const auto leases = std::exchange(leases_, {});
  const uint64_t last_token = last_token_;
  for (const std::string& id : order_) queue_.Remove(id);
  leased_.clear();
  stored_.clear();
  jobs_.clear();
  order_.clear();
  active_.clear();
  Restore(stored, now_ms);
  last_token_ = std::max(last_token_, last_token);
  expire_after_ms_ = 0;
  takers_.reset();
  for (const auto& [id, worker] : workers) wanting_.insert(id);
  for (const auto& [id, worker] : workers) {
    if (!worker.connected) continue;
    std::set<uint64_t> tokens = std::move(workers_[id].tokens);
    workers_[id] = worker;
    workers_[id].tokens = std::move(tokens);
  }
  std::vector<uint64_t> ended;  // here, but not in what Redis has
  for (const auto& [token, lease] : leases_) {
    if (leases.count(token) == 0) ended.push_back(token);
  }
  for (const uint64_t token : ended) EndLease(token, now_ms, leases_.at(token).lost, batch);
  for (const auto& [token, lease] : leases) {
    if (leases_.count(token) != 0) continue;
    Outgoing& message = messages.emplace_back();
    message.worker_id = lease.worker_id;
    message.message.mutable_revoke()->set_token(token);
    message.message.mutable_revoke()->set_reason("Redis came back without this lease");
  }
}

bool Farm::CancelJob(const std::string& id, int64_t now_ms, Batch& batch,
                     std::vector<Outgoing>& messages) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return false;
  JobState& job = found->second;
  if (job.ended()) return true;
  std::vector<uint64_t> tokens;
  for (const auto& [token, lease] : leases_) {
    if (lease.job_id == id) tokens.push_back(token);
  }
  for (const uint64_t token : tokens) {
    Outgoing& message = messages.emplace_back();
    message.worker_id = leases_.at(token).worker_id;
    message.message.mutable_revoke()->set_token(token);
    message.message.mutable_revoke()->set_reason("the job was cancelled");
    EndLease(token, now_ms, 0, batch);
  }
  job.cancelled = true;
  job.ended_ms = now_ms;
  job.pending.Clear();
  Requeue(id, job);
  active_.erase(id);
  changed_.insert(id);
  return true;
}

std::vector<uint64_t> Farm::Connect(const v1::Hello& hello, int64_t now_ms, Batch& batch) {
  WorkerState& worker = workers_[hello.worker_id()];
  worker.hello = hello;
  worker.connected = true;
  worker.draining = false;
  worker.want = 0;
  worker.connected_ms = now_ms;
  worker.knows_jobs.clear();
  takers_.reset();
  std::vector<uint64_t> lost;
  for (const uint64_t token : hello.held_tokens()) {
    const auto lease = leases_.find(token);
    if (lease == leases_.end() || lease->second.worker_id != hello.worker_id()) {
      lost.push_back(token);
    } else {
      lease->second.deadline_ms = now_ms + options_.lease_ttl_ms;
    }
  }
  std::set<uint64_t> unnamed = worker.tokens;
  for (const uint64_t token : hello.held_tokens()) unnamed.erase(token);
  for (const uint64_t token : unnamed) EndLease(token, now_ms, leases_.at(token).lost, batch);
  return lost;
}

void Farm::Disconnect(const std::string& worker_id) {
  const auto worker = workers_.find(worker_id);
  if (worker == workers_.end()) return;
  worker->second.connected = false;
  worker->second.want = 0;
  takers_.reset();
  if (worker->second.tokens.empty()) workers_.erase(worker);
}

void Farm::Drain(const std::string& worker_id) {
  const auto worker = workers_.find(worker_id);
  if (worker == workers_.end()) return;
  worker->second.draining = true;
  takers_.reset();
}

std::vector<uint64_t> Farm::TakeOutcomes(const std::string& worker_id, const v1::Turn& turn,
                                         int64_t now_ms, Batch& batch) {
  std::vector<uint64_t> stale;
  const auto worker = workers_.find(worker_id);
  if (worker == workers_.end()) return stale;
  worker->second.want = turn.want_leases();
  wanting_.insert(worker_id);
  for (const v1::Outcome& outcome : turn.outcomes()) {
    const auto lease = leases_.find(outcome.token());
    const bool own = lease != leases_.end() && lease->second.worker_id == worker_id &&
                     lease->second.job_id == outcome.job_id();
    if (!own || !TakeOutcome(outcome, worker_id, worker->second, now_ms, batch))
      stale.push_back(outcome.token());
  }
  return stale;
}

bool Farm::TakeOutcome(const v1::Outcome& outcome, const std::string& worker_id,
                       WorkerState& worker, int64_t now_ms, Batch& batch) {
  LeaseState& lease = leases_.at(outcome.token());
  JobState& job = jobs_.at(lease.job_id);
  lease.deadline_ms = now_ms + options_.lease_ttl_ms;
  store::StoredOutcome stored;
  stored.token = outcome.token();
  uint64_t variants = 0, told = 0;
  for (const auto& range : outcome.committed()) {
    told += range.count();
    for (const Range& taken : Subtract(lease.remaining, {range.first(), range.count()})) {
      stored.committed.push_back(ToProto(taken));
      variants += taken.count;
      NoteCommit(worker_id, worker, job, lease.job_id, taken, now_ms);
    }
  }
  AddLeased(job, -static_cast<int64_t>(variants));
  AddStored(job, variants == told ? outcome.stored_bytes()
                                  : outcome.stored_bytes() / told * variants);  // told again
  worker.committed += variants;
  bool gives_back = false;
  for (const auto& failed : outcome.failed()) {
    if (Subtract(lease.remaining, {failed.index(), 1}).empty()) continue;
    AddLeased(job, -1);
    TakeFailure(job, lease.job_id, failed, now_ms, stored);
    gives_back = NoteFailure(worker_id, worker, job, lease.job_id, failed.index(), failed.reason(),
                             now_ms) ||
                 gives_back;
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
  changed_.insert(lease.job_id);
  if (!stored.committed.empty() || !stored.failed.empty())
    batch.commits[lease.job_id].push_back(std::move(stored));
  const bool drops = gives_back && !outcome.released() && !lease.remaining.empty();
  if (gives_back || outcome.released() || lease.remaining.empty())
    EndLease(outcome.token(), now_ms, lease.lost, batch);
  return !drops;
}

void Farm::TakeFailure(JobState& job, const std::string& job_id, const v1::FailedVariant& failed,
                       int64_t now_ms, store::StoredOutcome& stored) {
  const uint32_t attempts = ++job.attempts[failed.index()];
  const bool is_final = attempts >= options_.failed_attempts;
  const std::string reason = Shortened(failed.reason(), kLongestReason);
  stored.failed.push_back({failed.index(), is_final, attempts, reason});
  if (is_final) job.failed_by.erase(failed.index());
  if (!is_final) {
    ++retried_;
    const int64_t wait =
        std::min(kLongestBackoffMs, options_.backoff_ms << std::min(attempts - 1, 20u));
    job.pending.Add({{failed.index(), 1}, 0, now_ms + wait});
    Requeue(job_id, job);
    return;
  }
  if (job.failures.size() < kMostFailuresShown) {
    v1::FailedVariant& shown = job.failures[failed.index()];
    shown.set_index(failed.index());
    shown.set_reason(reason);
    shown.set_attempts(attempts);
  }
}

void Farm::EndLease(uint64_t token, int64_t ready_ms, uint32_t lost, Batch& batch) {
  const auto found = leases_.find(token);
  TS_CHECK(found != leases_.end());
  LeaseState& lease = found->second;
  JobState& job = jobs_.at(lease.job_id);
  for (const Range& range : lease.remaining) job.pending.Add({range, lost, ready_ms});
  const uint64_t left = Total(lease.remaining);
  AddLeased(job, -static_cast<int64_t>(left));
  queue_.Charge(job.spec.tenant(), -lease.seconds_each * static_cast<double>(left));
  Requeue(lease.job_id, job);
  changed_.insert(lease.job_id);
  batch.releases.push_back(token);
  const auto worker = workers_.find(lease.worker_id);
  if (worker != workers_.end()) {
    worker->second.tokens.erase(token);
    wanting_.insert(lease.worker_id);
    if (!worker->second.connected && worker->second.tokens.empty()) workers_.erase(worker);
  }
  leases_.erase(found);
}

// A single variant over which worker after worker was lost: it has failed.
void Farm::GiveUp(uint64_t token, Batch& batch) {
  LeaseState& lease = leases_.at(token);
  JobState& job = jobs_.at(lease.job_id);
  const uint64_t index = lease.remaining[0].first;
  const uint32_t lost = lease.lost + 1;
  const std::string reason =
      absl::StrCat("its worker was lost ", lost, " times while rendering it");
  store::StoredOutcome stored{token, {}, {{index, true, lost, reason}}};
  v1::FailedVariant& shown = job.failures[index];
  shown.set_index(index);
  shown.set_attempts(lost);
  shown.set_reason(reason);
  batch.commits[lease.job_id].push_back(std::move(stored));
  AddLeased(job, -1);
  lease.remaining.clear();
}

void Farm::Heartbeat(const std::string& worker_id, const v1::Heartbeat& heartbeat, int64_t now_ms) {
  if (const auto worker = workers_.find(worker_id); worker != workers_.end()) {
    const auto& loaded = heartbeat.loaded_models();
    worker->second.loaded = {loaded.begin(), loaded.end()};
  }
  for (const uint64_t token : heartbeat.held_tokens()) {
    const auto lease = leases_.find(token);
    if (lease != leases_.end() && lease->second.worker_id == worker_id) {
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
    message.worker_id = lease.worker_id;
    message.message.mutable_revoke()->set_token(token);
    message.message.mutable_revoke()->set_reason("no heartbeat named this lease in time");
    const uint32_t lost = lease.suspect ? lease.lost + 1 : 1;
    if (lease.suspect && lost >= options_.lost_alone) GiveUp(token, batch);
    const int64_t wait =
        std::min(kLongestBackoffMs, options_.backoff_ms << std::min(lost - 1, 20u));
    EndLease(token, now_ms + wait, lost, batch);
  }
}

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
std::string Farm::PlaceFor(const std::string& worker_id, WorkerState& worker, bool with_its_models,
                           int64_t now_ms, std::optional<PendingRange>& taken) {
  bool waits_for_suspect = false;  // it gets it once it is free
  const auto take = [&](const std::string& id, double* seconds) {
    if (waits_for_suspect) return false;
    JobState& job = jobs_.at(id);
    if (!WhyNot(job.spec, job.render_class, worker.hello).empty() ||
        Pauses(worker_id, job, now_ms)) {
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
    const auto skip = [&](uint64_t index) { return FailedBy(worker_id, job, index, now_ms); };
    waits_for_suspect = !worker.tokens.empty() && job.pending.NextIsSuspect(most, now_ms, skip);
    if (waits_for_suspect) return false;
    taken = job.pending.Take(most, now_ms, skip);
    if (!taken.has_value()) return false;
    job.passed_over_ms = 0;
    *seconds = worker.seconds_per_variant * static_cast<double>(taken->range.count);
    return true;
  };
  return queue_.Offer(take);
}

bool Farm::GrantOne(const std::string& worker_id, WorkerState& worker, int64_t now_ms, Batch& batch,
                    std::vector<Outgoing>& messages) {
  std::optional<PendingRange> taken;
  std::string job_id;
  if (!worker.loaded.empty()) job_id = PlaceFor(worker_id, worker, true, now_ms, taken);
  if (job_id.empty()) job_id = PlaceFor(worker_id, worker, false, now_ms, taken);
  if (job_id.empty()) return false;
  GrantRange(job_id, *taken, worker_id, worker, now_ms, batch, messages);
  Requeue(job_id, jobs_.at(job_id));
  return true;
}

void Farm::GrantRange(const std::string& job_id, const PendingRange& taken,
                      const std::string& worker_id, WorkerState& worker, int64_t now_ms,
                      Batch& batch, std::vector<Outgoing>& messages) {
  JobState& job = jobs_.at(job_id);
  const uint64_t token = ++last_token_;
  ++granted_;
  leases_[token] = {job_id,
                    worker_id,
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
    batch.bound[job_id] = job.render_class;
  }
  changed_.insert(job_id);
  batch.grants[job_id].push_back(
      {token, job_id, taken.range.first, taken.range.count, taken.lost, worker_id});
  Outgoing& message = messages.emplace_back();
  message.worker_id = worker_id;
  v1::Lease& lease = *message.message.mutable_lease();
  lease.set_token(token);
  lease.set_job_id(job_id);
  *lease.mutable_range() = ToProto(taken.range);
  lease.set_attempt(taken.lost + 1);
  if (worker.knows_jobs.insert(job_id).second) *lease.mutable_spec() = job.spec;
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
    const std::vector<std::string> wanting(wanting_.begin(), wanting_.end());
    for (const std::string& id : wanting) {
      const auto found = workers_.find(id);
      if (found == workers_.end() || !found->second.connected || found->second.draining ||
          found->second.tokens.size() >= found->second.want) {
        wanting_.erase(id);
        continue;
      }
      WorkerState& worker = found->second;
      if (HoldsSuspect(worker) || IsBenched(worker, now_ms)) continue;
      any = GrantOne(id, worker, now_ms, batch, messages) ||
            StealOne(id, worker, now_ms, batch, messages) || any;
    }
  }
}

void Farm::ApplyTotals(const std::string& job_id, uint64_t committed, uint64_t failed,
                       int64_t now_ms) {
  JobState& job = jobs_.at(job_id);
  job.committed = committed;
  job.failed = failed;
  if (committed + failed >= job.variants) job.cancelled = false;  // it ended before it could be
  job.recent.emplace_back(now_ms, committed);
  while (job.recent.size() > 2 && job.recent[1].first < now_ms - kRateWindowMs)
    job.recent.pop_front();
  if (!job.ended() && committed + failed >= job.variants) {
    job.ended_ms = now_ms;
    active_.erase(job_id);
    Requeue(job_id, job);
  }
  changed_.insert(job_id);
}

std::unique_ptr<v1::Job> Farm::View(const std::string& id, int64_t now_ms, bool with_spec) const {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return nullptr;
  const JobState& job = found->second;
  auto view = std::make_unique<v1::Job>();
  view->set_id(id);
  if (with_spec) *view->mutable_spec() = job.spec;
  view->mutable_spec()->set_name(job.spec.name());
  view->set_variants(job.variants);
  view->set_committed(job.committed);
  view->set_failed(job.failed);
  view->set_leased(job.leased);
  view->set_submitted_unix_ms(job.submitted_ms);
  view->set_started_unix_ms(job.started_ms);
  view->set_ended_unix_ms(job.ended_ms);
  if (job.cancelled) view->set_cancelled(job.variants - job.committed - job.failed);
  view->set_priority(job.priority);
  view->set_stored_bytes(job.stored_bytes);
  view->set_render_class(job.render_class);
  view->set_state(job.cancelled    ? v1::JOB_STATE_CANCELLED
                  : job.ended()    ? (job.failed > 0 ? v1::JOB_STATE_FAILED : v1::JOB_STATE_DONE)
                  : job.paused     ? v1::JOB_STATE_PAUSED
                  : job.started_ms ? v1::JOB_STATE_RUNNING
                                   : v1::JOB_STATE_QUEUED);
  view->set_images_per_second(job.images_per_second());
  for (const auto& [index, failure] : job.failures) *view->add_failures() = failure;
  return view;
}

std::vector<v1::WorkerInfo> Farm::Workers(int64_t now_ms) const {
  std::vector<v1::WorkerInfo> infos;
  for (const auto& [id, worker] : workers_) {
    if (!worker.connected) continue;
    v1::WorkerInfo& info = infos.emplace_back();
    info.set_id(id);
    info.set_device(worker.hello.device());
    info.set_slots(worker.hello.slots());
    for (const auto& model : worker.hello.models()) info.add_models(model.name());
    uint64_t leased = 0;
    for (const uint64_t token : worker.tokens) leased += Total(leases_.at(token).remaining);
    info.set_leased(leased);
    info.set_committed(worker.committed);
    if (worker.seconds_per_variant > 0) info.set_images_per_second(1 / worker.seconds_per_variant);
    info.set_connected_unix_ms(worker.connected_ms);
    info.set_draining(worker.draining);
    if (IsBenched(worker, now_ms)) info.set_benched(worker.bench_reason);
  }
  return infos;
}

std::set<std::string> Farm::TakeChanged() {
  std::set<std::string> changed;
  changed.swap(changed_);
  return changed;
}

Farm::Counts Farm::counts() const {
  Counts counts;
  for (const std::string& id : active_) counts.pending += jobs_.at(id).pending.count();
  counts.leases = leases_.size();
  for (const auto& [id, worker] : workers_) counts.workers += worker.connected;
  counts.granted = granted_;
  counts.expired = expired_;
  counts.retried = retried_;
  counts.stolen = stolen_;
  counts.benched = benched_;
  return counts;
}

}  // namespace tiltshift::scheduler
