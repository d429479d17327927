#include "worker/lease_queue.h"

#include <algorithm>

namespace tiltshift::worker {
namespace {

void AddRange(v1::Outcome& outcome, uint64_t index) {
  if (outcome.committed_size() > 0) {
    v1::VariantRange& last = *outcome.mutable_committed(outcome.committed_size() - 1);
    if (last.first() + last.count() == index) {
      last.set_count(last.count() + 1);
      return;
    }
  }
  v1::VariantRange& range = *outcome.add_committed();
  range.set_first(index);
  range.set_count(1);
}

void AddSums(const v1::Outcome& from, v1::Outcome& to) {
  to.set_render_seconds(to.render_seconds() + from.render_seconds());
  to.set_stored_bytes(to.stored_bytes() + from.stored_bytes());
  v1::StageSeconds& stages = *to.mutable_stages();
  stages.set_encode(stages.encode() + from.stages().encode());
  stages.set_denoise(stages.denoise() + from.stages().denoise());
  stages.set_decode(stages.decode() + from.stages().decode());
  stages.set_finish(stages.finish() + from.stages().finish());
  stages.set_store(stages.store() + from.stages().store());
}

}  // namespace

absl::Status LeaseQueue::Add(const v1::Lease& lease) {
  std::lock_guard lock(mutex_);
  if (lease.has_spec()) {
    auto plan = plan::Plan::Create(lease.spec());
    if (!plan.ok()) return Annotate(plan.status(), absl::StrCat("job ", lease.job_id()));
    plans_[lease.job_id()] = std::make_shared<const plan::Plan>(*std::move(plan));
  }
  const auto plan = plans_.find(lease.job_id());
  if (plan == plans_.end())
    return absl::InvalidArgumentError(
        absl::StrCat("job ", lease.job_id(), " came without its spec"));
  const uint64_t end = lease.range().first() + lease.range().count();
  if (end > plan->second->count())
    return absl::InvalidArgumentError("the lease reaches beyond its job");
  LeaseState& state = leases_[lease.token()];
  state.job_id = lease.job_id();
  state.plan = plan->second;
  state.next = lease.range().first();
  state.end = end;
  work_ready_.notify_all();
  return absl::OkStatus();
}

void LeaseQueue::Drop(uint64_t token) {
  std::lock_guard lock(mutex_);
  leases_.erase(token);
  woken_ = true;
  news_ready_.notify_all();
}

void LeaseQueue::Trim(uint64_t token, uint64_t end) {
  std::lock_guard lock(mutex_);
  const auto lease = leases_.find(token);
  if (lease == leases_.end()) return;
  LeaseState& state = lease->second;
  state.end = std::min(state.end, std::max(state.next, end));
  state.trimmed = true;
  news_ready_.notify_all();
}

std::optional<Work> LeaseQueue::Next() {
  for (auto& [token, lease] : leases_) {
    if (lease.next >= lease.end) continue;
    ++lease.rendering;
    return Work{token, lease.job_id, lease.next++, lease.plan};
  }
  return std::nullopt;
}

std::optional<Work> LeaseQueue::Take() {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (closed_) return std::nullopt;
    if (auto work = Next()) return work;
    work_ready_.wait(lock);
  }
}

std::optional<Work> LeaseQueue::TakeIfThere() {
  std::lock_guard lock(mutex_);
  return closed_ ? std::nullopt : Next();
}

void LeaseQueue::AddNews(const Work& work, LeaseState& lease) {
  --lease.rendering;
  lease.outcome.set_token(work.token);
  lease.outcome.set_job_id(work.job_id);
  lease.has_news = true;
  news_ready_.notify_all();
}

void LeaseQueue::Finish(const Work& work, double seconds, uint64_t bytes,
                        const v1::StageSeconds& stages) {
  std::lock_guard lock(mutex_);
  const auto lease = leases_.find(work.token);
  if (lease == leases_.end())
    return;  // revoked meanwhile; the output is in the blob store, another commits it
  AddRange(lease->second.outcome, work.index);
  v1::Outcome sums;
  sums.set_render_seconds(seconds);
  sums.set_stored_bytes(bytes);
  *sums.mutable_stages() = stages;
  AddSums(sums, lease->second.outcome);
  AddNews(work, lease->second);
}

void LeaseQueue::Fail(const Work& work, const std::string& reason, bool vetoed) {
  std::lock_guard lock(mutex_);
  const auto lease = leases_.find(work.token);
  if (lease == leases_.end()) return;
  v1::FailedVariant& failed = *lease->second.outcome.add_failed();
  failed.set_index(work.index);
  failed.set_reason(reason);
  failed.set_vetoed(vetoed);
  AddNews(work, lease->second);
}

void LeaseQueue::Return(const Work& work) {
  std::lock_guard lock(mutex_);
  const auto lease = leases_.find(work.token);
  if (lease == leases_.end()) return;
  LeaseState& state = lease->second;
  --state.rendering;
  state.end = state.next;
  state.trimmed = true;
  news_ready_.notify_all();
}

void LeaseQueue::Close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
  work_ready_.notify_all();
  news_ready_.notify_all();
}

bool LeaseQueue::Closed() const {
  std::lock_guard lock(mutex_);
  return closed_;
}

std::vector<uint64_t> LeaseQueue::HeldTokens() const {
  std::lock_guard lock(mutex_);
  std::vector<uint64_t> tokens;
  for (const auto& [token, lease] : leases_) tokens.push_back(token);
  return tokens;
}

bool LeaseQueue::Holds(uint64_t token) const {
  std::lock_guard lock(mutex_);
  return leases_.contains(token);
}

bool LeaseQueue::Renders() const {
  std::lock_guard lock(mutex_);
  return std::any_of(leases_.begin(), leases_.end(),
                     [](const auto& lease) { return lease.second.rendering > 0; });
}

bool LeaseQueue::Over(const LeaseState& lease) const {
  return lease.rendering == 0 && (closed_ || lease.next >= lease.end);
}

bool LeaseQueue::MustRelease(const LeaseState& lease) const {
  return (closed_ || lease.trimmed) && Over(lease) && !lease.released;
}

v1::Turn LeaseQueue::NextTurn(uint64_t turn_number, int wait_ms, bool& something) {
  std::unique_lock lock(mutex_);
  auto news = [&] {
    return woken_ || std::any_of(leases_.begin(), leases_.end(), [&](const auto& lease) {
             return lease.second.has_news || MustRelease(lease.second);
           });
  };
  something = news_ready_.wait_for(lock, std::chrono::milliseconds(wait_ms), news);
  woken_ = false;
  v1::Turn turn;
  turn.set_turn(turn_number);
  for (auto& [token, lease] : leases_) {
    const bool release = MustRelease(lease);
    if (!lease.has_news && !release) continue;
    lease.outcome.set_token(token);
    lease.outcome.set_job_id(lease.job_id);
    lease.outcome.set_released(release);
    lease.released = lease.released || release;
    sent_[turn_number].push_back(lease.outcome);
    *turn.add_outcomes() = std::move(lease.outcome);
    lease.outcome.Clear();
    lease.has_news = false;
  }
  return turn;
}

void LeaseQueue::Acknowledge(const v1::TurnAck& ack) {
  std::lock_guard lock(mutex_);
  for (const uint64_t token : ack.stale_tokens()) leases_.erase(token);
  const auto sent = sent_.extract(ack.turn());
  if (sent.empty()) return;
  for (const v1::Outcome& outcome : sent.mapped()) {
    const auto lease = leases_.find(outcome.token());
    if (lease == leases_.end() || !Over(lease->second) || lease->second.has_news) continue;
    if (!IsSent(outcome.token())) leases_.erase(lease);
  }
}

bool LeaseQueue::IsSent(uint64_t token) const {
  return std::any_of(sent_.begin(), sent_.end(), [&](const auto& turn) {
    return std::any_of(turn.second.begin(), turn.second.end(),
                       [&](const v1::Outcome& outcome) { return outcome.token() == token; });
  });
}

void LeaseQueue::Unsend() {
  std::lock_guard lock(mutex_);
  for (auto& [turn, outcomes] : sent_) {
    for (v1::Outcome& outcome : outcomes) {
      const auto lease = leases_.find(outcome.token());
      if (lease == leases_.end()) continue;
      AddSums(lease->second.outcome, outcome);
      lease->second.outcome.MergeFrom(outcome);  // ranges are joined, sums taken over
      lease->second.has_news = true;
      lease->second.released = false;
    }
  }
  sent_.clear();
}

void LeaseQueue::Wake() {
  std::lock_guard lock(mutex_);
  woken_ = true;
  news_ready_.notify_all();
}

}  // namespace tiltshift::worker
