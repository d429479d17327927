// What a simulation goes through: lines of "name value", "#" begins a comment.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace tiltshift::tests {

struct Scenario {
  int workers = 20, slots = 1;
  double seconds_each = 2;  // of a variant on an ordinary worker
  double slowest = 1;       // the slowest worker takes so many times as long
  int jobs = 2, tenants = 1;
  uint64_t variants = 1'000;  // of each job
  int minutes = 3;            // of faults, in the simulation's time
  int calm_minutes = 60;      // after them, every job must end within it

  // How many a minute in all; 0: none.
  double worker_deaths = 0, stalls = 0, broken_streams = 0, leader_deaths = 0, leader_freezes = 0,
         redis_restarts = 0, pauses = 0, cancels = 0;
  double stall_seconds = 20;   // longer than a lease lives
  double freeze_seconds = 10;  // of a leader, longer than its lead lives
  double repeats = 0;          // share of the workers' messages that come twice
  double delay_ms = 5;         // of a message, on average

  int killers = 0;      // variants that kill their worker
  int broken = 0;       // variants that fail on every worker
  int bad_workers = 0;  // that fail whatever they get

  std::string Show() const;
};

// InvalidArgument names the line.
absl::StatusOr<Scenario> ParseScenario(std::string_view text);

}  // namespace tiltshift::tests
