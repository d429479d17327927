// Faults that a test plants in a whole program from outside, by its environment:
//
//   TILTSHIFT_EMULATED_MEMORY_MB  the card's memory
//   TILTSHIFT_EMULATED_FAULT      PATH of a file with a number N: the process that finds it removes
//   it, and its Nth
//                                 kernel faults; the process after it finds none
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace tiltshift::emulation {

// From the environment, once a process.
std::optional<size_t> PlantedMemoryBytes();

class PlantedFault {
 public:
  PlantedFault();
  // True once, at the launch that faults.
  bool Strikes() { return left_ > 0 && --left_ == 0; }

 private:
  std::atomic<int64_t> left_ = 0;
};

}  // namespace tiltshift::emulation
