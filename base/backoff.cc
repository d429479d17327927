#include "base/backoff.h"

#include <algorithm>

namespace tiltshift {

int64_t Backoff::NextMs() {
  step_ms_ = step_ms_ == 0 ? limits_.first_ms : std::min(2 * step_ms_, limits_.longest_ms);
  return std::uniform_int_distribution<int64_t>(step_ms_ - step_ms_ / 2, step_ms_)(random_);
}

uint64_t RandomSeed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

}  // namespace tiltshift
