// One loop over OpenMP's threads. Each index is computed by one thread, whole, so how many threads
// there are, and which of them computes what, changes no bit of what an index computes.
#pragma once

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace tiltshift::engine::cpu {

// What a thread begins with, whose data its core may still hold; the others take what it has not
// begun when they are done with theirs. Where another program has a core, its thread is not waited
// for longer than for one index.
class Shares {
 public:
  static constexpr int kMost = 64;

  Shares(int64_t count, int shares) : shares_(shares) {
    for (int i = 0; i < shares; ++i) {
      shares_of_[i].next.store(count * i / shares, std::memory_order_relaxed);
      shares_of_[i].end = count * (i + 1) / shares;
    }
  }
  // f(index) for every index that is left, those of the thread's own first.
  template <class F>
  void Work(int thread, const F& f) {
    for (int i = 0; i < shares_; ++i) {
      Share& share = shares_of_[(thread + i) % shares_];
      for (;;) {
        const int64_t index = share.next.fetch_add(1, std::memory_order_relaxed);
        if (index >= share.end) break;
        f(index);
      }
    }
  }

 private:
  struct alignas(64) Share {
    std::atomic<int64_t> next;
    int64_t end;
  };
  const int shares_;
  Share shares_of_[kMost];
};

// f(index, thread) for index in [0, count), thread in [0, threads).
template <class F>
void ParallelFor(int64_t count, int threads, const F& f) {
  if (threads <= 1 || count <= 1) {
    for (int64_t i = 0; i < count; ++i) f(i, 0);
    return;
  }
  Shares shares(count, std::min(threads, Shares::kMost));
#pragma omp parallel num_threads(threads)
  {
    const int thread = omp_get_thread_num();
    shares.Work(thread, [&](int64_t index) { f(index, thread); });
  }
}

}  // namespace tiltshift::engine::cpu
