#include "bench/peak.h"

#include <immintrin.h>
#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "bench/own_process.h"
#include "engine/cpu/isa.h"

namespace tiltshift::engine {
namespace {

// Ten sums of their own, so that none waits for another. Returns what it computed, or nothing would
// be.
__attribute__((target("avx512f"))) float Fma512(long rounds) {
  __m512 sums[10];
  for (int i = 0; i < 10; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i));
  __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
  for (long r = 0; r < rounds; ++r) {
    asm volatile("" : "+v"(a), "+v"(b));
#pragma GCC unroll 10
    for (int i = 0; i < 10; ++i) sums[i] = _mm512_fmadd_ps(sums[i], a, b);
  }
  __m512 all = sums[0];
  for (int i = 1; i < 10; ++i) all = _mm512_add_ps(all, sums[i]);
  alignas(64) float lanes[16];
  _mm512_store_ps(lanes, all);
  return lanes[0];
}
__attribute__((target("avx2,fma"))) float Fma256(long rounds) {
  __m256 sums[10];
  for (int i = 0; i < 10; ++i) sums[i] = _mm256_set1_ps(static_cast<float>(i));
  __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
  for (long r = 0; r < rounds; ++r) {
    asm volatile("" : "+x"(a), "+x"(b));
#pragma GCC unroll 10
    for (int i = 0; i < 10; ++i) sums[i] = _mm256_fmadd_ps(sums[i], a, b);
  }
  __m256 all = sums[0];
  for (int i = 1; i < 10; ++i) all = _mm256_add_ps(all, sums[i]);
  return all[0];
}

struct alignas(64) TileConfig {
  unsigned char palette = 1, start_row = 0, reserved[14] = {};
  unsigned short bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  unsigned char rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileConfig kConfig;

__attribute__((target("amx-tile,amx-bf16"), noinline)) void Tiles(long rounds) {
  _tile_loadconfig(&kConfig);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (long r = 0; r < rounds; ++r) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
}

// Rounds of all threads, the best of some times.
struct Effort {
  long rounds = 2'000'000;
  int times = 10;
};
template <class F>
double Rate(int threads, double flops_a_round, const Effort& effort, const F& run) {
  double best = 1e9;
  for (int i = 0; i < effort.times; ++i) {
    const double start = Now();
#pragma omp parallel num_threads(threads)
    run(effort.rounds);
    best = std::min(best, Now() - start);
  }
  return threads * flops_a_round * static_cast<double>(effort.rounds) / best;
}

double RateFp32(int threads, const Effort& effort) {
  [[maybe_unused]] static volatile float kept;
  switch (cpu::KernelIsa()) {
    case simd::Isa::kAvx512:
      return Rate(threads, 10 * 32, effort, [](long rounds) { kept = Fma512(rounds); });
    case simd::Isa::kAvx2:
      return Rate(threads, 10 * 16, effort, [](long rounds) { kept = Fma256(rounds); });
    case simd::Isa::kBaseline:
      break;
  }
  return 0;
}

double RateTiles(int threads, const Effort& effort) {
  if (!cpu::HasAmx()) return 0;
  return Rate(threads, 4 * 16 * 16 * 32 * 2, effort, [](long rounds) { Tiles(rounds / 10); }) / 10;
}

constexpr size_t kProbeBytes = size_t{512} << 20, kProbeReads = size_t{64} << 20,  // a thread
    kCacheReads = size_t{1} << 20;

uint64_t SumOf(const char* bytes, size_t count) {
  uint64_t sum = 0;
  for (size_t i = 0; i < count; i += sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, bytes + i, sizeof(word));
    sum += word;
  }
  return sum;
}

}  // namespace

double PeakFp32(int threads) { return RateFp32(threads, {}); }
double PeakTiles(int threads) { return RateTiles(threads, {}); }

MomentProbe::MomentProbe(int threads) : threads_(threads), bytes_(kProbeBytes, 1) {}

Moment MomentProbe::Measure() {
  constexpr Effort kShort = {.rounds = 200'000, .times = 1};
  Moment moment = {.fp32 = RateFp32(threads_, kShort), .tiles = RateTiles(threads_, kShort)};
  const auto read = [&](size_t bytes, int times) {
    [[maybe_unused]] static volatile uint64_t kept;
    const double start = Now();
#pragma omp parallel num_threads(threads_)
    {
      const size_t from = (at_ + omp_get_thread_num() * kProbeReads) % kProbeBytes;
      for (int i = 0; i < times; ++i) kept = kept + SumOf(bytes_.data() + from, bytes);
    }
    return threads_ * static_cast<double>(bytes) * times / (Now() - start);
  };
  moment.cache = read(kCacheReads, 100);
  at_ = (at_ + threads_ * kProbeReads) % kProbeBytes;
  moment.memory = read(kProbeReads, 1);
  return moment;
}

}  // namespace tiltshift::engine
