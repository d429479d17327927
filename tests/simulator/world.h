// What a simulation stands on: the turned clock, what happens when, one source of chance, and the
// log of what happened. One thread; the same seed, the same log.
#pragma once

#include <deque>
#include <functional>
#include <queue>
#include <random>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/hash.h"

namespace tiltshift::tests {

class World {
 public:
  explicit World(uint64_t seed) : random_(seed) {}

  int64_t Now() const { return clock_.UnixMs(); }
  const Clock& clock() const { return clock_; }

  void In(int64_t ms, std::function<void()> act) { At(Now() + ms, std::move(act)); }
  void At(int64_t ms, std::function<void()> act) {
    queue_.push({std::max(ms, Now()), order_++, std::move(act)});
  }
  // The next thing happens; false where nothing is to come.
  bool Step() {
    if (queue_.empty()) return false;
    const auto act = queue_.top().act;
    clock_.AdvanceMs(queue_.top().at_ms - Now());
    queue_.pop();
    act();
    return true;
  }

  uint64_t Below(uint64_t end) { return random_() % end; }
  bool Chance(double share) { return static_cast<double>(random_() >> 11) * 0x1p-53 < share; }
  // Of a Poisson process: milliseconds to the next.
  int64_t Gap(double a_minute) {
    return 1 +
           static_cast<int64_t>(std::exponential_distribution<double>(a_minute / 60'000)(random_));
  }

  void Log(const std::string& what) {
    const std::string line = std::to_string(Now() - 1'000'000) + " " + what;
    hash_.Update(line);
    ++logged_;
    last_.push_back(line);
    if (last_.size() > 50) last_.pop_front();
  }
  const std::deque<std::string>& last() const { return last_; }
  std::string LogHash() { return hash_.Hex(); }  // once, at the end
  uint64_t logged() const { return logged_; }

 private:
  struct Thing {
    int64_t at_ms;
    uint64_t order;
    std::function<void()> act;
    bool operator<(const Thing& other) const {  // the queue's top is its greatest
      return at_ms != other.at_ms ? at_ms > other.at_ms : order > other.order;
    }
  };
  ManualClock clock_;
  std::priority_queue<Thing> queue_;
  uint64_t order_ = 0, logged_ = 0;
  std::mt19937_64 random_;
  Sha256 hash_;
  std::deque<std::string> last_;
};

}  // namespace tiltshift::tests
