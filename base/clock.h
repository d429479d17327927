// Time is injected: leases, deadlines and backoff ask a Clock, so that tests turn it by hand.
#pragma once

#include <atomic>
#include <cstdint>

namespace tiltshift {

class Clock {
 public:
  virtual ~Clock() = default;

  // Milliseconds since the Unix epoch. What is stored or shown.
  virtual int64_t UnixMs() const = 0;

  // Milliseconds that only rise, from an unknown start. What deadlines inside one process are kept
  // in.
  virtual int64_t SteadyMs() const = 0;
};

// The machine's clocks. Lives as long as the process.
const Clock& RealClock();

// A clock that moves only when told to.
class ManualClock : public Clock {
 public:
  explicit ManualClock(int64_t start_ms = 1'000'000) : now_ms_(start_ms) {}
  int64_t UnixMs() const override { return now_ms_.load(); }
  int64_t SteadyMs() const override { return now_ms_.load(); }
  void AdvanceMs(int64_t by_ms) { now_ms_ += by_ms; }

 private:
  std::atomic<int64_t> now_ms_;
};

}  // namespace tiltshift
