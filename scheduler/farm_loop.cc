#include "scheduler/farm_loop.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "base/log.h"
#include "proto/protocol.h"
#include "scheduler/answer.h"
#include "scheduler/message_checks.h"
#include "scheduler/round.h"

namespace tiltshift::scheduler {
namespace {

// Of more events than kUndivided a round takes one of kParts. While Redis has it, the thread
// that polls the clients has the answers to the last one to write; a round of all that waits leaves
// it, and them, with nothing to do (docs/performance.md).
constexpr size_t kUndivided = 20;
constexpr size_t kParts = 4;
constexpr auto kTick = std::chrono::milliseconds(50);

}  // namespace

FarmLoop::FarmLoop(LoopOptions options, std::unique_ptr<store::FarmStore> store, const Clock& clock,
                   monitoring::SchedulerMetrics& metrics)
    : options_(std::move(options)),
      name_(absl::StrCat(options_.name, "@", options_.advertise)),
      store_(std::move(store)),
      clock_(clock),
      metrics_(metrics),
      backoff_({}, RandomSeed()) {
  store_->client().OnRoundTrip([&metrics](const std::string& function, double seconds) {
    metrics.RedisSeconds(function).Observe(seconds);
  });
}

FarmLoop::~FarmLoop() { Stop(); }

void FarmLoop::Post(Event event) {
  {
    std::lock_guard lock(mutex_);
    if (!leading_) return;  // dropped outside the lock, and with it whoever waits for an answer
    events_.push_back(std::move(event));
    if (events_.size() > 1) return;  // the loop is awake, or about to be
  }
  wake_.notify_one();
}

// With the lock held.
std::deque<FarmLoop::Event> FarmLoop::TakeEvents(bool all) {
  std::deque<Event> taken;
  const size_t most = std::max(kUndivided, events_.size() / kParts);
  if (all || events_.size() <= most) {
    taken.swap(events_);
    return taken;
  }
  const auto end = events_.begin() + static_cast<ptrdiff_t>(most);
  taken.insert(taken.end(), std::make_move_iterator(events_.begin()), std::make_move_iterator(end));
  events_.erase(events_.begin(), end);
  return taken;
}

void FarmLoop::RunRounds() {
  for (bool last = false; !last;) {
    std::deque<Event> events;
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, kTick, [&] { return stopping_ || !events_.empty(); });
      last = stopping_;
      events = TakeEvents(/*all=*/last);
    }
    if (!KeepLead() || !RunRound(std::move(events))) return;
  }
}

bool FarmLoop::RunRound(std::deque<Event> events) {
  Round round{*farm_, clock_.UnixMs(), {}, {}, {}, {}, {}, {}, {}};
  Recover(round);
  for (const Event& event : events) {
    if (event.act != nullptr) {
      event.act(round);
    } else {
      TakeMessage(event, round);
    }
  }
  farm_->Assign(round.now_ms, round.batch, round.messages);
  if (!WriteRound(round)) return false;
  Publish(clock_.UnixMs());  // first: who has an answer finds what it told
  if (LogsEvents()) LogTurns(round.batch);
  SendAll(round);
  for (auto& act : round.when_durable) act();
  return true;
}

// The answers to turns first, with the leases that go to who asked; then the rest, in its order.
void FarmLoop::SendAll(Round& round) {
  std::vector<std::pair<WorkerStream*, Outgoing*>> rest;
  for (Outgoing& message : round.messages) {
    const auto stream = streams_.find(message.worker_id);
    if (stream == streams_.end()) continue;
    const auto ack = round.last_ack.find(stream->second.get());
    if (ack == round.last_ack.end() || !message.message.has_lease()) {
      rest.emplace_back(stream->second.get(), &message);
      continue;
    }
    v1::TurnAck& answer = *round.acks[ack->second].message.mutable_turn_ack();
    answer.mutable_leases()->AddAllocated(message.message.release_lease());
  }
  const int64_t now_ms = clock_.SteadyMs();
  for (Round::Ack& ack : round.acks) {
    ack.stream->Send(ack.message);
    metrics_.turn_seconds.Observe(static_cast<double>(now_ms - ack.received_ms) / 1000.0);
  }
  for (const auto& [stream, message] : rest) stream->Send(message->message);
}

// Contract: sends the round's writes, what bound strict jobs first, then each job's outcomes and
// leases, with the last of them what ended, then submissions and what operators asked for, until
// Redis has answered all; the same group again after a lost connection. Returns false where the
// lead is lost or the process is stopping.
bool FarmLoop::WriteRound(Round& round) {
  std::vector<store::Write> writes;
  Batch& batch = round.batch;
  for (const auto& [job_id, render_class] : batch.bound)
    writes.push_back(store::FarmStore::SetRenderClass(epoch_, job_id, render_class));
  const size_t jobs_at = writes.size();
  if (!batch.releases.empty()) {
    if (batch.jobs.empty()) batch.jobs[""];
    batch.jobs.rbegin()->second.releases = std::move(batch.releases);
  }
  for (auto& [job_id, turns] : batch.jobs) {
    if (!turns.outcomes.empty()) turns.stored_bytes = farm_->stored_bytes(job_id);
    writes.push_back(store::FarmStore::Turns(epoch_, job_id, turns, round.now_ms));
  }
  const size_t first_at = writes.size();
  for (auto& write : round.first) writes.push_back(std::move(write));
  if (writes.empty()) return true;

  for (;;) {
    const auto replies = store_->WriteAll(writes);
    if (replies.ok()) {
      EndTrouble();
      backoff_.Reset();
      size_t at = jobs_at;
      for (const auto& [job_id, turns] : batch.jobs) {
        const auto& totals = (*replies)[at++].items;
        if (turns.outcomes.empty()) continue;
        if (totals.size() >= 2)
          farm_->ApplyTotals(job_id, totals[0].integer, totals[1].integer, round.now_ms);
        if (totals.size() > 2) redis_run_.clear();  // it lost leases: the next round takes it up
      }
      CountCommits(batch);
      for (size_t i = 0; i < round.first_done.size(); ++i)
        round.first_done[i]((*replies)[first_at + i]);
      return true;
    }
    if (absl::IsFailedPrecondition(replies.status())) {
      const auto lead = store_->Lead(name_, options_.leader_ttl_ms, epoch_);
      if (lead.ok() && *lead != epoch_) {
        TakeEpoch(*lead);
        for (store::Write& write : writes) write.call.arguments[0] = std::to_string(epoch_);
        continue;
      }
    }
    if (replies.status().code() != absl::StatusCode::kUnavailable) {
      lost_ = replies.status();
      return false;
    }
    ShowTrouble(replies.status());
    const auto wait = std::chrono::milliseconds(RetryRedisMs());
    std::unique_lock lock(mutex_);
    if (wake_.wait_for(lock, wait, [&] { return stopping_; })) return false;
  }
}

// A server that can't be reached is the client's to wait for; one that answers, and refuses, ours.
int64_t FarmLoop::RetryRedisMs() {
  const int64_t client_ms = store_->client().RetryInMs();
  return client_ms > 0 ? client_ms : backoff_.NextMs();
}

// Durable by now.
void FarmLoop::LogTurns(const Batch& batch) {
  for (const auto& [job_id, turns] : batch.jobs) {
    const JobView job = Job(job_id);
    const LogScope scope(
        {.job = job_id, .trace = job != nullptr ? job->spec().traceparent() : std::string_view()});
    for (const store::StoredLease& lease : turns.grants) {
      LogEvent("leased", {.shard = lease.token,
                          .first = lease.first,
                          .count = lease.count,
                          .worker = lease.worker_id});
    }
    for (const store::StoredOutcome& outcome : turns.outcomes) {
      for (const v1::VariantRange& range : outcome.committed)
        LogEvent("committed",
                 {.shard = outcome.token, .first = range.first(), .count = range.count()});
      for (const store::StoredFailure& failure : outcome.failed) {
        LogEvent(
            absl::StrCat(failure.is_final ? "failed: " : "to be tried again: ", failure.reason),
            {.variant = failure.index, .shard = outcome.token});
      }
    }
  }
}

void FarmLoop::CountCommits(const Batch& batch) {
  for (const auto& [job_id, turns] : batch.jobs) {
    for (const auto& outcome : turns.outcomes) {
      for (const auto& range : outcome.committed) metrics_.variants_committed.Add(range.count());
      for (const auto& failure : outcome.failed) metrics_.variants_failed.Add(failure.is_final);
    }
  }
}

void FarmLoop::Connect(std::shared_ptr<WorkerStream> stream, const v1::Hello& hello) {
  auto answer = std::make_shared<Answer<absl::Status>>(
      *this, [stream](const absl::Status& why) { stream->End(why); });
  Post([=, this](Round& round) {
    answer->Take();  // StepDown ends it from now on
    spdlog::info("worker {} connected: {}", hello.worker_id(), hello.device());
    streams_[hello.worker_id()] = stream;
    v1::SchedulerMessage message;
    v1::Welcome& welcome = *message.mutable_welcome();
    welcome.set_epoch(epoch_);
    welcome.set_protocol(std::min(NewestProtocol(hello), kProtocol));
    welcome.set_heartbeat_ms(options_.heartbeat_ms);
    welcome.set_lease_ttl_ms(static_cast<uint32_t>(options_.farm.lease_ttl_ms));
    for (const uint64_t token : farm_->Connect(hello, round.now_ms, round.batch))
      welcome.add_lost_tokens(token);
    stream->Send(message);
  });
}

void FarmLoop::Receive(std::shared_ptr<WorkerStream> stream, const std::string& worker_id) {
  Post(Event{std::move(stream), worker_id, clock_.SteadyMs(), nullptr});
}

void FarmLoop::TakeMessage(const Event& event, Round& round) {
  const auto current = streams_.find(event.worker_id);
  if (current == streams_.end() || current->second != event.stream)
    return;  // an older stream of this worker
  const auto message = event.stream->Next();
  if (!message.ok()) {
    event.stream->End(message.status());
    streams_.erase(current);
    farm_->Disconnect(event.worker_id);
    return;
  }
  if (message->has_heartbeat())
    farm_->Heartbeat(event.worker_id, message->heartbeat(), round.now_ms);
  if (message->has_draining()) farm_->Drain(event.worker_id);
  if (!message->has_turn()) return;
  round.last_ack[event.stream.get()] = round.acks.size();
  Round::Ack& ack = round.acks.emplace_back();
  ack.stream = event.stream;
  ack.received_ms = event.received_ms;
  v1::TurnAck& answer = *ack.message.mutable_turn_ack();
  answer.set_turn(message->turn().turn());
  for (const uint64_t token :
       farm_->TakeOutcomes(event.worker_id, message->turn(), round.now_ms, round.batch)) {
    answer.add_stale_tokens(token);
  }
}

void FarmLoop::Disconnect(const WorkerStream* stream, const std::string& worker_id) {
  Post([=, this](Round&) {
    const auto current = streams_.find(worker_id);
    if (current == streams_.end() || current->second.get() != stream) return;
    spdlog::info("worker {} disconnected", worker_id);
    streams_.erase(current);
    farm_->Disconnect(worker_id);
  });
}

}  // namespace tiltshift::scheduler
