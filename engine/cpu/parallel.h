// One loop over OpenMP's threads. Each index is computed by one thread, whole, so how many threads
// there are changes no bit of what an index computes.
#pragma once

#include <omp.h>

#include <cstdint>

namespace tiltshift::engine::cpu {

// f(index, thread) for index in [0, count), thread in [0, threads).
template <class F>
void ParallelFor(int64_t count, int threads, const F& f) {
  if (threads <= 1 || count <= 1) {
    for (int64_t i = 0; i < count; ++i) f(i, 0);
    return;
  }
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < count; ++i) f(i, omp_get_thread_num());
}

}  // namespace tiltshift::engine::cpu
