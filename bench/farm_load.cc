#include "bench/farm_load.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tiltshift::bench {
namespace {

// On gRPC's own clock, which need not be read for it.
gpr_timespec ToGrpc(SteadyClock::time_point when) {
  const auto since = std::chrono::duration_cast<std::chrono::nanoseconds>(when.time_since_epoch());
  return gpr_time_from_nanos(since.count(), GPR_CLOCK_MONOTONIC);
}

SteadyClock::duration Seconds(double seconds) {
  return std::chrono::duration_cast<SteadyClock::duration>(std::chrono::duration<double>(seconds));
}

}  // namespace

struct Load::Worker {
  int number = 0;
  grpc::ClientContext context;
  std::unique_ptr<v1::Workers::Stub> stub;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<v1::WorkerMessage, v1::SchedulerMessage>> stream;
  Tag start, read, write;
  v1::WorkerMessage out;
  v1::SchedulerMessage in;
  bool writing = false, heartbeat_due = false;

  v1::Lease lease;
  uint64_t done = 0;  // variants of the lease
  bool odd_ones = false;
  uint64_t turn = 0, in_turn = 0;  // the turn's number; variants it completes
  bool busy = false, acknowledged = false, waits_for_lease = false, welcome = false;
  bool turn_due = false;
  SteadyClock::time_point since, due;
};

Load::Load(const LoadOptions& options) : options_(options) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  for (int i = 0; i < std::min(options_.channels, options_.workers); ++i) {
    channels_.push_back(
        grpc::CreateCustomChannel(options_.address, grpc::InsecureChannelCredentials(), arguments));
  }
  for (int i = 0; i < options_.workers; ++i) {
    auto worker = std::make_unique<Worker>();
    worker->number = i;
    worker->start = {worker.get(), Op::kStart};
    worker->read = {worker.get(), Op::kRead};
    worker->write = {worker.get(), Op::kWrite};
    worker->stub = v1::Workers::NewStub(channels_[i % channels_.size()]);
    worker->context.set_wait_for_ready(true);
    worker->stream = worker->stub->PrepareAsyncSession(&worker->context, &queue_);
    worker->stream->StartCall(&worker->start);
    workers_.push_back(std::move(worker));
  }
}

Load::~Load() {
  for (const auto& worker : workers_) worker->context.TryCancel();
  queue_.Shutdown();
  void* tag = nullptr;
  for (bool ok = false; queue_.Next(&tag, &ok);) continue;
}

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
  void* tag = nullptr;
  bool ok = false;
  const auto next = queue_.AsyncNext(&tag, &ok, ToGrpc(until));
  now_ = SteadyClock::now();
  if (next == grpc::CompletionQueue::GOT_EVENT) Handle(*static_cast<Tag*>(tag), ok);
}

void Load::Fire(const Due& due) {
  Worker& worker = *due.worker;
  if (due.heartbeat) {
    worker.heartbeat_due = true;
    due_.push({due.when + std::chrono::milliseconds(options_.heartbeat_ms), &worker, true});
    if (!worker.writing) Write(worker);
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

void Load::Handle(const Tag& tag, bool ok) {
  Worker& worker = *tag.worker;
  if (!ok) {
    if (tag.op == Op::kRead) ++result_.broken;
    return;
  }
  if (tag.op == Op::kStart) {
    v1::Hello& hello = *worker.out.mutable_hello();
    hello.set_worker_id(absl::StrCat("bench-", worker.number));
    hello.set_device("simulated");
    hello.set_slots(1);
    hello.set_protocol(1);
    v1::ModelInfo& model = *hello.add_models();
    model.set_name("diorama");
    worker.writing = true;
    worker.stream->Write(worker.out, &worker.write);
    worker.stream->Read(&worker.in, &worker.read);
  } else if (tag.op == Op::kWrite) {
    worker.writing = false;
    Write(worker);
  } else {
    Read(worker);
    worker.stream->Read(&worker.in, &worker.read);
  }
}

void Load::Read(Worker& worker) {
  if (worker.in.has_welcome()) {
    worker.welcome = true;
    const auto first =
        std::chrono::milliseconds(options_.heartbeat_ms * (worker.number + 1) / options_.workers);
    due_.push({now_ + first, &worker, true});
    worker.waits_for_lease = true;
    StartTurn(worker, now_);
  } else if (worker.in.has_lease()) {
    Take(worker, worker.in.lease());
  } else if (worker.in.has_turn_ack()) {
    worker.acknowledged = worker.acknowledged || worker.in.turn_ack().turn() == worker.turn;
    result_.stale += worker.in.turn_ack().stale_tokens_size();
    for (const v1::Lease& lease : worker.in.turn_ack().leases()) Take(worker, lease);
  } else if (worker.in.has_revoke()) {
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
  if (!worker.writing) Write(worker);
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

// What is to be said next: a turn that was begun and not written, else a heartbeat.
void Load::Write(Worker& worker) {
  if (worker.welcome && worker.busy && worker.out.turn().turn() != worker.turn) {
    worker.out.mutable_turn()->Clear();
    worker.out.mutable_turn()->set_turn(worker.turn);
    worker.out.mutable_turn()->set_want_leases(1);
    if (worker.lease.token() != 0) FillOutcome(worker);
  } else if (worker.heartbeat_due) {
    v1::WorkerMessage heartbeat;
    heartbeat.mutable_heartbeat()->add_held_tokens(worker.lease.token());
    worker.heartbeat_due = false;
    worker.writing = true;
    worker.stream->Write(heartbeat, &worker.write);
    return;
  } else {
    return;
  }
  worker.writing = true;
  worker.stream->Write(worker.out, &worker.write);
}

void Load::FillOutcome(Worker& worker) {
  v1::Outcome& outcome = *worker.out.mutable_turn()->add_outcomes();
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
