#include "bench/farm_limits.h"

#include <unistd.h>

#include <algorithm>
#include <functional>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "bench/farm_load.h"
#include "scheduler/call_server.h"
#include "scheduler/farm.h"
#include "store/farm_store.h"

namespace tiltshift::bench {
namespace {

constexpr int kWorkers = 64;
constexpr char kJob[] = "jbench";

v1::VariantRange Range(uint64_t first, uint64_t count) {
  v1::VariantRange range;
  range.set_first(first);
  range.set_count(count);
  return range;
}

// Calls `once` for so long; how often a second.
double Rate(double seconds, const std::function<void()>& once) {
  const auto start = SteadyClock::now();
  uint64_t times = 0;
  double passed = 0;
  do {
    once();
    ++times;
    passed = std::chrono::duration<double>(SteadyClock::now() - start).count();
  } while (passed < seconds);
  return static_cast<double>(times) / passed;
}

// The farm and its 64 workers in one thread; a round is a turn of each.
class Thread {
 public:
  Thread(uint64_t variants_a_turn, bool scattered)
      : variants_(variants_a_turn), scattered_(scattered), farm_({}, 1), leases_(kWorkers) {
    v1::JobSpec spec;
    spec.set_name("bench");
    farm_.AddJob(kJob, spec, uint64_t{1} << 32, 0);
    for (int i = 0; i < kWorkers; ++i) {
      v1::Hello hello;
      hello.set_worker_id(absl::StrCat("bench-", i));
      hello.set_slots(1);
      scheduler::Batch batch;
      farm_.Connect(hello, 0, batch);
    }
  }

  void Round() {
    scheduler::Batch batch;
    std::vector<scheduler::Outgoing> messages;
    ++now_ms_;
    for (int i = 0; i < kWorkers; ++i) {
      v1::WorkerMessage received;
      TS_CHECK(received.ParseFromString(Turn(i).SerializeAsString()));
      farm_.TakeOutcomes(absl::StrCat("bench-", i), received.turn(), now_ms_, batch);
    }
    farm_.Assign(now_ms_, batch, messages);
    Write(batch);
    for (const scheduler::Outgoing& message : messages) {
      v1::SchedulerMessage received;
      TS_CHECK(received.ParseFromString(message.message.SerializeAsString()));
      if (!received.has_lease()) continue;
      const int worker = std::atoi(message.worker_id.c_str() + 6);
      leases_[worker] = received.lease();
    }
    for (int i = 0; i < kWorkers; ++i) {
      v1::SchedulerMessage ack, received;
      ack.mutable_turn_ack()->set_turn(turn_);
      TS_CHECK(received.ParseFromString(ack.SerializeAsString()));
    }
    farm_.TakeChanged();
    ++turn_;
  }

 private:
  v1::WorkerMessage Turn(int worker) {
    v1::WorkerMessage message;
    v1::Turn& turn = *message.mutable_turn();
    turn.set_turn(turn_);
    turn.set_want_leases(1);
    v1::Lease& lease = leases_[worker];
    if (lease.token() == 0) return message;
    v1::Outcome& outcome = *turn.add_outcomes();
    outcome.set_token(lease.token());
    outcome.set_job_id(kJob);
    const v1::VariantRange range = lease.range();
    outcome.set_render_seconds(30.0 / static_cast<double>(variants_) *
                               static_cast<double>(range.count()));
    if (!scattered_) {
      *outcome.add_committed() = range;
    } else {  // backwards: no two that follow each other are neighbours for the ranges' code
      for (uint64_t i = 0; i < range.count(); i += 2)
        *outcome.add_committed() = Range(range.first() + i, 1);
      for (uint64_t i = 1; i < range.count(); i += 2)
        *outcome.add_committed() = Range(range.first() + i, 1);
    }
    return message;
  }

  void Write(scheduler::Batch& batch) {
    uint64_t committed = 0;
    for (auto& [job, turns] : batch.jobs) {
      for (const auto& outcome : turns.outcomes) {
        for (const auto& range : outcome.committed) committed += range.count();
      }
      turns.releases = std::move(batch.releases);
      writes_ += store::FarmStore::Turns(1, job, turns, now_ms_).call.arguments.size();
    }
    committed_ += committed;
    farm_.ApplyTotals(kJob, committed_, 0, now_ms_);
  }

  const uint64_t variants_;
  const bool scattered_;
  scheduler::Farm farm_;
  std::vector<v1::Lease> leases_;
  int64_t now_ms_ = 1;
  uint64_t turn_ = 1, committed_ = 0, writes_ = 0;
};

// Answers turns at once.
class EchoCall : public scheduler::CallHandler {
 public:
  explicit EchoCall(std::shared_ptr<scheduler::Call> call) : call_(std::move(call)) {}

  absl::Status OnMessage(grpc::ByteBuffer& bytes) override {
    TS_ASSIGN_OR_RETURN(const auto in, scheduler::Parse<v1::WorkerMessage>(bytes));
    v1::SchedulerMessage out;
    if (in.has_hello()) {
      out.mutable_welcome()->set_epoch(1);
    } else if (in.has_turn()) {
      v1::TurnAck& ack = *out.mutable_turn_ack();
      ack.set_turn(in.turn().turn());
      v1::Lease& lease = *ack.add_leases();
      lease.set_token(++token_);
      lease.set_job_id(kJob);
      *lease.mutable_range() = Range(token_, 1);
    } else {
      return absl::OkStatus();
    }
    call_->Write(out);
    return absl::OkStatus();
  }
  void OnLastMessage() override { call_->Finish(absl::OkStatus()); }

 private:
  const std::shared_ptr<scheduler::Call> call_;
  uint64_t token_ = 0;
};

}  // namespace

double CodeTurnsPerSecond(uint64_t variants_a_turn, bool scattered, double seconds) {
  Thread thread(variants_a_turn, scattered);
  for (int i = 0; i < 50; ++i) thread.Round();
  return kWorkers * Rate(seconds, [&] { thread.Round(); });
}

int ServeEcho(const std::string& address) {
  scheduler::CallServer server;
  for (const char* method : {"Session", "OpenPhoto"}) {  // a service is there whole, or not at all
    server.BidiStream(absl::StrCat("/tiltshift.v1.Workers/", method),
                      [](std::shared_ptr<scheduler::Call> call) {
                        return std::make_shared<EchoCall>(std::move(call));
                      });
  }
  if (!server.Start(address).ok()) return 1;
  for (;;) pause();
}

RedisRates MeasureRedis(const store::RedisAddress& address, double seconds) {
  store::FarmStore farm(address);
  TS_CHECK(farm.Prepare().ok());
  const auto epoch = farm.Lead("bench", 600'000, 0);
  TS_CHECK(epoch.ok());
  const auto sha = farm.client().Run({"SCRIPT", "LOAD", "return 1"});
  TS_CHECK(sha.ok());
  const std::vector<store::RedisCommand> scripts(kWorkers, {"EVALSHA", sha->text, "0"});
  const std::vector<store::RedisCommand> functions(
      kWorkers,
      {"FCALL", "ts_set", "2", "ts:epoch", "ts:job:none", std::to_string(*epoch), "paused", "0"});
  RedisRates rates;
  rates.nothing_scripts =
      kWorkers * Rate(seconds, [&] { TS_CHECK(farm.client().RunAll(scripts).ok()); });
  rates.nothing_functions =
      kWorkers * Rate(seconds, [&] { TS_CHECK(farm.client().RunAll(functions).ok()); });

  const uint64_t variants = uint64_t{1} << 32;
  TS_CHECK(farm.WriteAll({store::FarmStore::Submit(*epoch, kJob, {}, variants, 1, "")}).ok());
  uint64_t token = 0;
  rates.turns =
      kWorkers * Rate(seconds, [&] {
        store::JobTurns turns;
        for (int i = 0; i < kWorkers; ++i) {
          ++token;
          if (token > kWorkers) {
            turns.outcomes.push_back({token - kWorkers, {Range(token - kWorkers, 1)}, {}});
            turns.releases.push_back(token - kWorkers);
          }
          turns.grants.push_back({token, kJob, token, 1, 0, absl::StrCat("bench-", i)});
        }
        TS_CHECK(farm.WriteAll({store::FarmStore::Turns(*epoch, kJob, turns, 1)}).ok());
      });
  return rates;
}

}  // namespace tiltshift::bench
