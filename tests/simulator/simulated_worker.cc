#include "tests/simulator/simulated_worker.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tiltshift::tests {
namespace {

constexpr int64_t kHeartbeatMs = 3'000;
constexpr int64_t kIdleTurnMs = 1'000;
constexpr int64_t kSilenceMs = 30'000;  // of the scheduler; then it is left
constexpr uint64_t kOutputBytes = 1'000;

}  // namespace

// The scheduler's end. What it says arrives late, in its order.
class SimulatedWorker::Stream : public scheduler::WorkerStream {
 public:
  Stream(SimulatedWorker& worker, uint64_t generation, int scheduler, uint64_t incarnation)
      : worker_(worker),
        generation_(generation),
        scheduler_(scheduler),
        incarnation_(incarnation) {}

  void Arrives(const v1::WorkerMessage& message) { arrived_.push_back(message); }
  absl::StatusOr<v1::WorkerMessage> Next() override {
    v1::WorkerMessage message = std::move(arrived_.front());
    arrived_.pop_front();
    return message;
  }
  void Send(const v1::SchedulerMessage& message) override {
    if (message.has_lease()) worker_.farm_.Granted(scheduler_, message.lease());
    for (const v1::Lease& lease : message.turn_ack().leases())
      worker_.farm_.Granted(scheduler_, lease);
    if (message.has_turn_ack() && worker_.generation_ == generation_)
      worker_.Acknowledges(message.turn_ack());
    // The stream may be gone when it arrives.
    Later([worker = &worker_, generation = generation_, message] {
      worker->Receive(generation, message);
    });
  }
  void End(const absl::Status&) override {
    Later([worker = &worker_, generation = generation_] {
      if (worker->generation_ == generation) worker->BreakStream();
    });
  }
  int scheduler() const { return scheduler_; }
  uint64_t incarnation() const { return incarnation_; }

 private:
  void Later(std::function<void()> act) {
    last_ms_ = std::max(last_ms_, worker_.world_.Now() + worker_.Delay());
    worker_.world_.At(last_ms_, std::move(act));
  }
  SimulatedWorker& worker_;
  const uint64_t generation_;
  const int scheduler_;
  const uint64_t incarnation_;
  int64_t last_ms_ = 0;
  std::deque<v1::WorkerMessage> arrived_;
};

SimulatedWorker::SimulatedWorker(World& world, SimulatedFarm& farm, const Scenario& scenario,
                                 int number, double seconds_each, bool is_bad)
    : world_(world),
      farm_(farm),
      scenario_(scenario),
      number_(number),
      seconds_each_(seconds_each),
      is_bad_(is_bad) {}

int SimulatedWorker::scheduler() const { return stream_ == nullptr ? -1 : stream_->scheduler(); }

int64_t SimulatedWorker::Delay() {
  return world_.Below(static_cast<uint64_t>(2 * scenario_.delay_ms) + 1);
}

void SimulatedWorker::InMyTime(int64_t ms, std::function<void()> act) {
  world_.In(ms, [this, act = std::move(act)] {
    if (world_.Now() >= stalled_until_ms_) return act();
    world_.At(stalled_until_ms_ + static_cast<int64_t>(world_.Below(20)), act);
  });
}

void SimulatedWorker::Start() {
  ++life_;
  id_ = absl::StrCat("w", number_, ".", life_);
  queue_ = std::make_unique<worker::LeaseQueue>();
  slots_.assign(scenario_.slots, {});
  told_.clear();
  stalled_until_ms_ = 0;
  Connect();
}

void SimulatedWorker::Die() {
  if (!up()) return;
  world_.Log(absl::StrCat(id_, " dies"));
  const bool had_stream = stream_ != nullptr;
  if (had_stream) BreakStream();
  queue_.reset();
  slots_.clear();
  world_.In(1'000 + static_cast<int64_t>(world_.Below(10'000)), [this] { Start(); });
}

void SimulatedWorker::Stall() {
  if (!up()) return;
  world_.Log(absl::StrCat(id_, " stalls"));
  stalled_until_ms_ = world_.Now() + static_cast<int64_t>(1'000 * scenario_.stall_seconds);
}

void SimulatedWorker::BreakStream() {
  ++generation_;
  welcomed_ = false;
  if (stream_ == nullptr) return;
  const auto stream = std::exchange(stream_, nullptr);
  queue_->Unsend();
  told_.clear();
  world_.In(Delay(), [this, stream, id = id_] {
    scheduler::FarmLoop* loop = farm_.Reach(stream->scheduler());
    if (loop != nullptr && farm_.Incarnation(stream->scheduler()) == stream->incarnation())
      loop->Disconnect(stream.get(), id);
  });
  const uint64_t life = life_;
  InMyTime(100 + static_cast<int64_t>(world_.Below(900)), [this, life] {
    if (up() && life_ == life && stream_ == nullptr) Connect();
  });
}

void SimulatedWorker::Connect() {
  const int scheduler = target_;
  scheduler::FarmLoop* loop = farm_.Reach(scheduler);
  if (loop == nullptr || !loop->Leading().ok()) {
    target_ = (target_ + 1) % farm_.Schedulers();
    const uint64_t life = life_;
    InMyTime(100 + static_cast<int64_t>(world_.Below(400)), [this, life] {
      if (up() && life_ == life && stream_ == nullptr) Connect();
    });
    return;
  }
  stream_ = std::make_shared<Stream>(*this, ++generation_, scheduler, farm_.Incarnation(scheduler));
  heard_ms_ = world_.Now();
  v1::Hello hello;
  hello.set_worker_id(id_);
  hello.set_slots(scenario_.slots);
  hello.set_protocol(1);
  for (const uint64_t token : queue_->HeldTokens()) hello.add_held_tokens(token);
  world_.In(Delay(), [this, stream = stream_, hello] {
    scheduler::FarmLoop* there = farm_.Reach(stream->scheduler());
    if (stream_ != stream || there == nullptr ||
        farm_.Incarnation(stream->scheduler()) != stream->incarnation()) {
      if (stream_ == stream) BreakStream();
      return;
    }
    there->Connect(stream, hello);
  });
  Heartbeat(generation_);
}

void SimulatedWorker::Receive(uint64_t generation, const v1::SchedulerMessage& message) {
  if (!up() || generation_ != generation) return;
  if (world_.Now() < stalled_until_ms_) {
    return world_.At(stalled_until_ms_,
                     [this, generation, message] { Receive(generation, message); });
  }
  heard_ms_ = world_.Now();
  switch (message.message_case()) {
    case v1::SchedulerMessage::kWelcome:
      welcomed_ = true;
      for (const uint64_t token : message.welcome().lost_tokens()) queue_->Drop(token);
      SendTurn(true);
      Idle(generation);
      break;
    case v1::SchedulerMessage::kLease:
      Take(message.lease());
      break;
    case v1::SchedulerMessage::kTurnAck:
      told_.erase(message.turn_ack().turn());
      queue_->Acknowledge(message.turn_ack());
      for (const v1::Lease& lease : message.turn_ack().leases()) Take(lease);
      break;
    case v1::SchedulerMessage::kTrim:
      queue_->Trim(message.trim().token(), message.trim().end());
      SendTurn(false);
      break;
    case v1::SchedulerMessage::kRevoke:
      queue_->Drop(message.revoke().token());
      break;
    default:
      break;
  }
  Fill();
}

void SimulatedWorker::Acknowledges(const v1::TurnAck& ack) {
  const auto told = told_.find(ack.turn());
  if (told == told_.end()) return;
  for (const v1::Outcome& outcome : told->second.outcomes()) {
    const bool stale =
        std::count(ack.stale_tokens().begin(), ack.stale_tokens().end(), outcome.token()) > 0;
    if (!stale) farm_.Acknowledged(outcome);
  }
}

void SimulatedWorker::Take(const v1::Lease& lease) {
  world_.Log(absl::StrCat(id_, " holds ", lease.token(), ": ", lease.job_id(), " ",
                          lease.range().first(), "+", lease.range().count()));
  if (const absl::Status added = queue_->Add(lease); !added.ok())
    world_.Log(absl::StrCat("lease refused: ", added.message()));
}

void SimulatedWorker::Fill() {
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].work.has_value()) continue;
    slots_[i].work = queue_->TakeIfThere();
    if (!slots_[i].work.has_value()) return;
    const int64_t ms = static_cast<int64_t>(1'000 * seconds_each_ *
                                            (0.8 + 0.004 * static_cast<double>(world_.Below(100))));
    InMyTime(ms, [this, life = life_, i] { Finish(life, i); });
  }
}

void SimulatedWorker::Finish(uint64_t life, size_t slot) {
  if (!up() || life_ != life) return;
  const worker::Work work = *std::exchange(slots_[slot].work, std::nullopt);
  if (farm_.Kills(work.job_id, work.index)) {
    farm_.Killed(work.job_id, work.index);
    return Die();
  }
  if (is_bad_ || farm_.Breaks(work.job_id, work.index)) {
    queue_->Fail(work, "does not render");
  } else {
    farm_.Rendered(work.job_id, work.index);
    queue_->Finish(work, seconds_each_, kOutputBytes);
  }
  Fill();
  SendTurn(false);
}

void SimulatedWorker::SendTurn(bool idle) {
  if (!welcomed_) return;
  bool something = false;
  v1::WorkerMessage message;
  v1::Turn& turn = *message.mutable_turn();
  turn = queue_->NextTurn(turn_ + 1, 0, something);
  if (turn.outcomes().empty() && !idle) return;
  ++turn_;
  ++turns_;
  turn.set_want_leases(static_cast<uint32_t>(scenario_.slots) + 1);
  told_[turn_] = turn;
  Send(message);
}

void SimulatedWorker::Idle(uint64_t generation) {
  InMyTime(kIdleTurnMs, [this, generation] {
    if (!up() || generation_ != generation) return;
    if (queue_->HeldTokens().size() < static_cast<size_t>(scenario_.slots) + 1) SendTurn(true);
    Idle(generation);
  });
}

void SimulatedWorker::Heartbeat(uint64_t generation) {
  InMyTime(kHeartbeatMs, [this, generation] {
    if (!up() || generation_ != generation) return;
    if (world_.Now() - heard_ms_ > kSilenceMs) return BreakStream();
    v1::WorkerMessage message;
    message.mutable_heartbeat();
    for (const uint64_t token : queue_->HeldTokens())
      message.mutable_heartbeat()->add_held_tokens(token);
    if (welcomed_) Send(message);
    Heartbeat(generation);
  });
}

void SimulatedWorker::Send(const v1::WorkerMessage& message) {
  last_out_ms_ = std::max(last_out_ms_, world_.Now() + Delay());
  const int times = world_.Chance(scenario_.repeats) ? 2 : 1;
  for (int i = 0; i < times; ++i) {
    world_.At(last_out_ms_, [this, stream = stream_, id = id_, message] {
      if (stream_ != stream) return;  // lost with its stream
      scheduler::FarmLoop* loop = farm_.Reach(stream->scheduler());
      if (loop != nullptr && farm_.Incarnation(stream->scheduler()) == stream->incarnation()) {
        stream->Arrives(message);
        loop->Receive(stream, id);
      }
    });
  }
}

}  // namespace tiltshift::tests
