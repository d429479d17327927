// The emulated card: its memory, how it runs a grid, and what it has found and counted. One a
// process, as the CUDA runtime's current device is.
#pragma once

#include <string>

#include "kernels/emulation/block.h"
#include "kernels/emulation/counters.h"
#include "kernels/emulation/findings.h"
#include "kernels/emulation/memory.h"
#include "kernels/emulation/planted.h"

namespace tiltshift::emulation {

class Card {
 public:
  Card() {
    if (const auto bytes = PlantedMemoryBytes()) memory_.set_limit(*bytes);
  }
  DeviceMemory& memory() { return memory_; }
  Findings& findings() { return findings_; }

  // Tracked: every access is checked and counted, at about thirty times the cost. Set between
  // launches; memory allocated before has no record of what was written.
  void set_tracking(bool on) { tracking = on; }

  // Runs all blocks, over all of the host's cores, and returns when they have ended. `body` runs
  // once a thread of the card. False: something was found.
  bool Run(const LaunchShape& shape, const std::string& kernel, void (*body)(const void*),
           const void* argument);

  // Of the tracked launches since the last call.
  Counters TakeCounters();

 private:
  DeviceMemory memory_;
  Findings findings_;
  PlantedFault planted_;
  Counters counters_;
};

Card& TheCard();

// Tracks what runs while it lives.
class Tracked {
 public:
  Tracked() { TheCard().set_tracking(true); }
  ~Tracked() { TheCard().set_tracking(false); }
  Tracked(const Tracked&) = delete;
  Tracked& operator=(const Tracked&) = delete;
};

}  // namespace tiltshift::emulation
