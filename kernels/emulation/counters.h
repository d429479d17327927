// What a kernel did, counted: figures that are the same on every run, so tests hold them as
// budgets.
#pragma once

#include <cstdint>

namespace tiltshift::emulation {

// Counts a warp's instruction once, as the card issues it. Only launches that are tracked count.
struct Counters {
  int64_t mma = 0;          // mma.sync m16n8k16
  int64_t load_matrix = 0;  // ldmatrix .x4
  int64_t copy_async = 0;   // cp.async 16 bytes
  int64_t shared_loads = 0;
  int64_t shared_stores = 0;
  int64_t global_loads = 0;
  int64_t global_stores = 0;
  int64_t atomics = 0;  // of shared or global memory
  int64_t shuffles = 0;
  int64_t barriers = 0;  // a block's __syncthreads, once

  // Extra passes over the banks: a request that needs n passes counts n - 1. `matrix`: of ldmatrix
  // alone.
  int64_t bank_conflicts = 0;
  int64_t matrix_bank_conflicts = 0;
  // 32-byte sectors that global requests touched, and the fewest that their bytes would fit in.
  int64_t sectors = 0;
  int64_t ideal_sectors = 0;
  // Bytes that lanes asked for.
  int64_t global_bytes_loaded = 0;
  int64_t global_bytes_stored = 0;

  Counters& operator+=(const Counters& other);
};

}  // namespace tiltshift::emulation
