#include "kernels/emulation/card.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <utility>

#include "kernels/emulation/host_threads.h"

namespace tiltshift::emulation {

Card& TheCard() {
  static Card card;
  return card;
}

bool Card::Run(const LaunchShape& shape, const std::string& kernel, void (*body)(const void*),
               const void* argument) {
  Grid grid = {
      .shape = shape, .kernel = kernel, .body = body, .argument = argument, .tracked = tracking};
  if (planted_.Strikes()) {
    findings_.Add(FindingKind::kOutOfBounds, kernel, std::source_location::current(),
                  "planted by TILTSHIFT_EMULATED_FAULT");
  }
  const int64_t blocks = shape.grid.size();
  std::atomic<int64_t> next = 0;
  std::mutex counters;
  RunOnHost(blocks, [&] {
    // Its stacks and shared memory serve many launches.
    thread_local const std::unique_ptr<Block> block = std::make_unique<Block>();
    for (int64_t i; (i = next++) < blocks;) {
      const Dim3 index = {static_cast<unsigned>(i % shape.grid.x),
                          static_cast<unsigned>(i / shape.grid.x % shape.grid.y),
                          static_cast<unsigned>(i / shape.grid.x / shape.grid.y)};
      block->Run(grid, index);
    }
    if (!grid.tracked) return;
    const std::lock_guard lock(counters);
    counters_ += block->counters();
    block->counters() = {};
  });
  return findings_.empty();
}

Counters Card::TakeCounters() { return std::exchange(counters_, {}); }

}  // namespace tiltshift::emulation
