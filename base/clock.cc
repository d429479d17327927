#include "base/clock.h"

#include <chrono>

namespace tiltshift {
namespace {

template <typename ChronoClock>
int64_t NowMs() {
  using std::chrono::duration_cast;
  using std::chrono::milliseconds;
  return duration_cast<milliseconds>(ChronoClock::now().time_since_epoch()).count();
}

class MachineClock : public Clock {
 public:
  int64_t UnixMs() const override { return NowMs<std::chrono::system_clock>(); }
  int64_t SteadyMs() const override { return NowMs<std::chrono::steady_clock>(); }
};

}  // namespace

const Clock& RealClock() {
  static const MachineClock clock;
  return clock;
}

}  // namespace tiltshift
