// Simulated workers that speak the session protocol of proto/worker.proto to whoever serves it.
// Each holds one lease; a turn completes it, or its next part, and where nothing of it is left
// takes another. All run on the caller's thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <queue>
#include <string>
#include <string_view>
#include <vector>

#include "bench/wire_client.h"
#include "proto/worker.pb.h"

namespace tiltshift::bench {

using SteadyClock = std::chrono::steady_clock;

struct LoadOptions {
  std::string address;
  int workers = 64;
  int channels = 4;              // connections they share
  uint64_t variants_a_turn = 1;  // completed by a turn, at most
  bool scattered = false;        // every other variant first, then the rest: no two are neighbours
  double turns_per_second = 0;   // of all workers together; 0: as fast as they are answered
  int heartbeat_ms = 3'000;
  double lease_seconds = 1;  // the scheduler's; with the rate reported, leases then hold a turn
};

struct LoadResult {
  uint64_t turns = 0, variants = 0;
  double seconds = 0;
  double p50_ms = 0, p99_ms = 0, most_ms = 0;   // of a turn: until acknowledged and the lease here
  uint64_t revoked = 0, stale = 0, broken = 0;  // leases, outcomes, streams; 0 where all is well

  double TurnsPerSecond() const { return static_cast<double>(turns) / seconds; }
  double VariantsPerSecond() const { return static_cast<double>(variants) / seconds; }
};

class Load {
 public:
  explicit Load(const LoadOptions& options);
  ~Load();  // closes the streams

  // True when every worker was welcomed and has its first lease.
  bool Connect(double patience_seconds);
  // What was done in the next `seconds`. May be called again. `until`, where given, is asked every
  // 10 ms and ends it early.
  LoadResult Run(double seconds, const std::function<bool()>& until = nullptr);

 private:
  struct Worker;
  struct Due {
    SteadyClock::time_point when;
    Worker* worker;
    bool heartbeat;
    bool operator>(const Due& other) const { return when > other.when; }
  };

  void Read(Worker& worker, std::string_view message);
  void Fire(const Due& due);
  void Take(Worker& worker, const v1::Lease& lease);
  void StartTurn(Worker& worker, SteadyClock::time_point since);
  void FinishTurn(Worker& worker);
  void FillOutcome(Worker& worker, v1::Outcome& outcome);
  void Step(SteadyClock::time_point until);  // what is due, and what arrives until then

  const LoadOptions options_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
  SteadyClock::time_point now_ = SteadyClock::now();  // when the last event came
  bool running_ = false;
  int ready_ = 0;
  LoadResult result_;
  std::vector<float> latencies_ms_;
  v1::WorkerMessage out_;
  v1::SchedulerMessage in_;
  WireClient client_;  // last: it calls back
};

}  // namespace tiltshift::bench
