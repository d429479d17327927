#include "bench/farm_load.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace tiltshift::bench {
namespace {

SteadyClock::duration Seconds(double seconds) {
  return std::chrono::duration_cast<SteadyClock::duration>(std::chrono::duration<double>(seconds));
}

}  // namespace

struct Load::Worker {
  int number = 0;
  v1::Lease lease;
  uint64_t done = 0;  // variants of the lease
  bool odd_ones = false;
  uint64_t turn = 0, in_turn = 0;  // the turn's number; variants it completes
  bool busy = false, acknowledged = false, waits_for_lease = false;
  bool turn_due = false;
  SteadyClock::time_point since, due;
};

Load::Load(const LoadOptions& options)
    : options_(options),
      client_(options.address, "/tiltshift.v1.Workers/Session", options.workers, options.channels,
              {[this](int call, std::string_view message) { Read(*workers_[call], message); },
               [this](int) { ++result_.broken; }}) {
  for (int i = 0; i < options_.workers; ++i) {
    workers_.push_back(std::make_unique<Worker>());
    workers_.back()->number = i;
    out_.Clear();
    v1::Hello& hello = *out_.mutable_hello();
    hello.set_worker_id(absl::StrCat("bench-", i));
    hello.set_device("simulated");
    hello.set_slots(1);
    hello.set_protocol(1);
    hello.add_models()->set_name("diorama");
    client_.Send(i, out_);
  }
}

Load::~Load() = default;

bool Load::Connect(double patience_seconds) {
  const auto end = SteadyClock::now() + Seconds(patience_seconds);
  while (ready_ < options_.workers && now_ < end) Step(end);
  return ready_ == options_.workers;
}

LoadResult Load::Run(double seconds, const std::function<bool()>& until) {
  result_ = {};
  latencies_ms_.clear();
  const auto start = SteadyClock::now(), end = start + Seconds(seconds);
  running_ = true;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> heartbeats;  // turns begin anew
  for (; !due_.empty(); due_.pop()) {
    if (due_.top().heartbeat) heartbeats.push(due_.top());
  }
  due_ = std::move(heartbeats);
  for (const auto& worker : workers_) {
    worker->since = worker->due = start;
    if (worker->busy) continue;
    if (options_.turns_per_second > 0) {
      due_.push({start + Seconds(worker->number / options_.turns_per_second), worker.get(), false});
    } else {
      StartTurn(*worker, start);
    }
  }
  now_ = start;
  for (auto ask = start; now_ < end;) {
    Step(until == nullptr ? end : std::min(end, ask));
    if (until == nullptr || now_ < ask) continue;
    if (until()) break;
    ask = SteadyClock::now() + std::chrono::milliseconds(10);
  }
  running_ = false;
  result_.seconds = std::chrono::duration<double>(now_ - start).count();
  std::sort(latencies_ms_.begin(), latencies_ms_.end());
  if (!latencies_ms_.empty()) {
    result_.p50_ms = latencies_ms_[latencies_ms_.size() / 2];
    result_.p99_ms = latencies_ms_[latencies_ms_.size() * 99 / 100];
    result_.most_ms = latencies_ms_.back();
  }
  return result_;
}

void Load::Step(SteadyClock::time_point until) {
  while (!due_.empty() && due_.top().when <= now_) {
    const Due due = due_.top();
    due_.pop();
    Fire(due);
  }
  if (!due_.empty()) until = std::min(until, due_.top().when);
  client_.Wait(until);
  now_ = SteadyClock::now();
}

void Load::Fire(const Due& due) {
  Worker& worker = *due.worker;
  if (due.heartbeat) {
    due_.push({due.when + std::chrono::milliseconds(options_.heartbeat_ms), &worker, true});
    out_.Clear();
    out_.mutable_heartbeat()->add_held_tokens(worker.lease.token());
    client_.Send(worker.number, out_);
  } else if (!running_) {
    return;
  } else if (worker.busy) {  // behind its time: the wait counts
    worker.turn_due = true;
    worker.due = due.when;
  } else {  // the timer's own lateness does not
    worker.due = due.when;
    StartTurn(worker, now_);
  }
}

void Load::Read(Worker& worker, std::string_view message) {
  TS_CHECK(in_.ParseFromArray(message.data(), static_cast<int>(message.size())));
  if (in_.has_welcome()) {
    const auto first =
        std::chrono::milliseconds(options_.heartbeat_ms * (worker.number + 1) / options_.workers);
    due_.push({now_ + first, &worker, true});
    worker.waits_for_lease = true;
    StartTurn(worker, now_);
  } else if (in_.has_lease()) {
    Take(worker, in_.lease());
  } else if (in_.has_turn_ack()) {
    worker.acknowledged = worker.acknowledged || in_.turn_ack().turn() == worker.turn;
    result_.stale += in_.turn_ack().stale_tokens_size();
    for (const v1::Lease& lease : in_.turn_ack().leases()) Take(worker, lease);
  } else if (in_.has_revoke()) {
    ++result_.revoked;
  }
  if (worker.busy && worker.acknowledged && !worker.waits_for_lease) FinishTurn(worker);
}

void Load::Take(Worker& worker, const v1::Lease& lease) {
  worker.lease.set_token(lease.token());
  worker.lease.set_job_id(lease.job_id());
  *worker.lease.mutable_range() = lease.range();
  worker.done = 0;
  worker.waits_for_lease = false;
}

void Load::StartTurn(Worker& worker, SteadyClock::time_point since) {
  worker.busy = true;
  worker.acknowledged = false;
  worker.since = since;
  ++worker.turn;
  out_.Clear();
  v1::Turn& turn = *out_.mutable_turn();
  turn.set_turn(worker.turn);
  turn.set_want_leases(1);
  if (worker.lease.token() != 0) FillOutcome(worker, *turn.add_outcomes());
  client_.Send(worker.number, out_);
}

void Load::FinishTurn(Worker& worker) {
  worker.busy = false;
  if (worker.turn == 1) {
    ++ready_;
    if (!running_) return;
  }
  if (!running_) return;
  ++result_.turns;
  result_.variants += worker.in_turn;
  latencies_ms_.push_back(std::chrono::duration<float, std::milli>(now_ - worker.since).count());
  if (options_.turns_per_second == 0) {
    StartTurn(worker, now_);
    return;
  }
  due_.push({worker.due + Seconds(options_.workers / options_.turns_per_second), &worker, false});
  if (std::exchange(worker.turn_due, false)) StartTurn(worker, worker.due);
}

void Load::FillOutcome(Worker& worker, v1::Outcome& outcome) {
  outcome.set_token(worker.lease.token());
  outcome.set_job_id(worker.lease.job_id());
  const v1::VariantRange& lease = worker.lease.range();
  const uint64_t most = options_.variants_a_turn, first = lease.first() + worker.done;
  if (!options_.scattered) {
    v1::VariantRange& range = *outcome.add_committed();
    range.set_first(first);
    range.set_count(std::min(most, lease.count() - worker.done));
    worker.in_turn = range.count();
    worker.done += range.count();
  } else {
    const uint64_t block = std::min(2 * most, lease.count() - worker.done);
    worker.in_turn = 0;
    for (uint64_t i = worker.odd_ones; i < block; i += 2, ++worker.in_turn) {
      v1::VariantRange& range = *outcome.add_committed();
      range.set_first(first + i);
      range.set_count(1);
    }
    const bool again = !worker.odd_ones && block > 1;
    worker.odd_ones = again;
    if (!again) worker.done += block;
  }
  const double lease_holds = static_cast<double>(options_.scattered ? 2 * most : most);
  outcome.set_render_seconds(options_.lease_seconds / lease_holds *
                             static_cast<double>(worker.in_turn));
  worker.waits_for_lease = worker.done == lease.count();
}

}  // namespace tiltshift::bench
