// How long to wait between tries: longer each time, up to a limit, and never the same for two who
// began to wait together, so that they don't come back together.
#pragma once

#include <cstdint>
#include <random>

namespace tiltshift {

class Backoff {
 public:
  struct Limits {
    int64_t first_ms = 50;
    int64_t longest_ms = 2'000;
  };
  // `seed`: what tells this one's waits from another's.
  Backoff(Limits limits, uint64_t seed) : limits_(limits), random_(seed) {}

  // The wait after one more failure: between half and all of first_ms, 2 first_ms, 4 first_ms, ...
  // longest_ms.
  int64_t NextMs();
  // After a success: the next wait is a first one.
  void Reset() { step_ms_ = 0; }

 private:
  const Limits limits_;
  std::mt19937_64 random_;
  int64_t step_ms_ = 0;
};

// A seed unlike that of any other process.
uint64_t RandomSeed();

}  // namespace tiltshift
