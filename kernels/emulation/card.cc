#include "kernels/emulation/card.h"

#include <omp.h>

#include <algorithm>
#include <memory>
#include <utility>

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
  // All cores, whatever the calling thread's own work may use: one grid runs at a time.
  const int threads = static_cast<int>(std::min<int64_t>(blocks, omp_get_num_procs()));
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    // Its stacks and shared memory serve many launches.
    thread_local const std::unique_ptr<Block> block = std::make_unique<Block>();
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < blocks; ++i) {
      const Dim3 index = {static_cast<unsigned>(i % shape.grid.x),
                          static_cast<unsigned>(i / shape.grid.x % shape.grid.y),
                          static_cast<unsigned>(i / shape.grid.x / shape.grid.y)};
      block->Run(grid, index);
    }
    if (grid.tracked) {
#pragma omp critical
      {
        counters_ += block->counters();
        block->counters() = {};
      }
    }
  }
  return findings_.empty();
}

Counters Card::TakeCounters() { return std::exchange(counters_, {}); }

}  // namespace tiltshift::emulation
