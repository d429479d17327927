// PCG-XSH-RR (O'Neill 2014): 32 random bits from 64 of state. A scene is drawn from one of these,
// in a fixed order of draws, so a seed means the same pictures for good.
#pragma once

#include <cstdint>

namespace tiltshift::scenes {

class Random {
 public:
  explicit Random(uint64_t state) : state_(state) {}

  uint32_t Bits() {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    const auto mixed = static_cast<uint32_t>(((state_ >> 18) ^ state_) >> 27);
    const auto turn = static_cast<uint32_t>(state_ >> 59);
    return mixed >> turn | mixed << (-turn & 31);
  }
  float Unit() { return static_cast<float>(Bits() >> 8) * (1.f / 16777216.f); }  // [0, 1)
  float Between(float low, float high) { return low + (high - low) * Unit(); }
  int Below(int n) { return static_cast<int>(Bits() % static_cast<uint32_t>(n)); }

 private:
  uint64_t state_;
};

}  // namespace tiltshift::scenes
