#include "bench/peak.h"

#include <immintrin.h>
#include <omp.h>

#include <algorithm>
#include <chrono>

#include "engine/cpu/isa.h"

namespace tiltshift::engine {
namespace {

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Ten sums of their own, so that none waits for another. Returns what it computed, or nothing would be.
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
  return _mm512_reduce_add_ps(all);
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

// The best of ten rounds of all threads.
template <class F>
double Rate(int threads, double flops_a_round, const F& run) {
  constexpr long kRounds = 2'000'000;
  double best = 1e9;
  for (int i = 0; i < 10; ++i) {
    const double start = Now();
#pragma omp parallel num_threads(threads)
    run(kRounds);
    best = std::min(best, Now() - start);
  }
  return threads * flops_a_round * kRounds / best;
}

}  // namespace

double PeakFp32(int threads) {
  [[maybe_unused]] static volatile float kept;
  switch (cpu::KernelIsa()) {
    case simd::Isa::kAvx512: return Rate(threads, 10 * 32, [](long rounds) { kept = Fma512(rounds); });
    case simd::Isa::kAvx2: return Rate(threads, 10 * 16, [](long rounds) { kept = Fma256(rounds); });
    case simd::Isa::kBaseline: break;
  }
  return 0;
}

double PeakTiles(int threads) {
  if (!cpu::HasAmx()) return 0;
  return Rate(threads, 4 * 16 * 16 * 32 * 2, [](long rounds) { Tiles(rounds / 10); }) / 10;
}

}  // namespace tiltshift::engine
