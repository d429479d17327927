// What bounds the farm, measured by itself: its code without network or Redis, the network without
// the farm, Redis without the scheduler.
#pragma once

#include <cstdint>
#include <string>

#include "bench/farm_stage.h"

namespace tiltshift::bench {

// Turns a second of one thread that does the same work for 64 workers: the workers' messages made
// and parsed, Farm's decisions, the writes for Redis built, the answers made and parsed.
double CodeTurnsPerSecond(uint64_t variants_a_turn, bool scattered, double seconds);

// Serves Workers on `address` and answers every turn with a lease and its acknowledgement, at once,
// until the process is killed: what the session costs without a farm behind it.
int ServeEcho(const std::string& address);

struct RedisRates {
  double nothing_scripts = 0;    // EVALSHA of "return 1" a second, 64 in a pipeline
  double nothing_functions = 0;  // FCALL of a function that checks the epoch, likewise
  double turns = 0;              // the writes of a group of 64 turns of one variant, as turns
};
// In an empty database of that server.
RedisRates MeasureRedis(const store::RedisAddress& address, double seconds);

}  // namespace tiltshift::bench
