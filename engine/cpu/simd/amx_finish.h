// A block's sums on their way to the rows of y: residual added or gated, rounded, written.
//
// Included by amx_product.cc alone: compiled for AVX-512 with BF16.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "engine/cpu/simd/vec.h"

namespace tiltshift::engine::simd {
namespace {

constexpr int64_t kSumStride = 32;  // floats

// Rows of y as pairs of vectors, of which `mask` says the columns there are.
__m512 Widen(__m256i bf16) { return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(bf16), 16); }
struct TwoVectors {
  __m512 low, high;
};
TwoVectors LoadRow(const uint16_t* from, __mmask32 mask) {
  const __m512i both = _mm512_maskz_loadu_epi16(mask, from);
  return {Widen(_mm512_castsi512_si256(both)), Widen(_mm512_extracti64x4_epi64(both, 1))};
}
TwoVectors LoadRow(const float* from, __mmask32 mask) {
  return {_mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), from),
          _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), from + 16)};
}
void StoreRow(const TwoVectors& row, __mmask32 mask, uint16_t* to) {
  _mm512_mask_storeu_epi16(to, mask, (__m512i)_mm512_cvtne2ps_pbh(row.high, row.low));
}
void StoreRow(const TwoVectors& row, __mmask32 mask, float* to) {
  _mm512_mask_storeu_ps(to, static_cast<__mmask16>(mask), row.low);
  _mm512_mask_storeu_ps(to + 16, static_cast<__mmask16>(mask >> 16), row.high);
}

// A block's sums on their way to y: residual added or gated, rounded, written.
template <class T>
struct Finish {
  const float* sums = nullptr;
  const int32_t* out = nullptr;
  const T* residual = nullptr;
  T* y = nullptr;
  int64_t residual_stride = 0, y_stride = 0;
  __mmask32 mask = 0;
  bool pairs = false;
  int64_t rows = 0;  // left

  void Some(int64_t count) {
    count = std::min(count, rows);
    if (count == 0) return;
    rows -= count;
    if (pairs) return Write<Kind::kPairs>(count);
    residual != nullptr ? Write<Kind::kResidual>(count) : Write<Kind::kPlain>(count);
  }

 private:
  enum class Kind : uint8_t { kPlain, kResidual, kPairs };

  template <Kind kKind>
  __attribute__((always_inline)) void Write(int64_t count) {
    // In registers: through `this`, each store to y would have them read again.
    const float* const from = sums;
    const int32_t* const places = out;
    const T* const added = residual;
    T* const to = y;
    const int64_t added_stride = residual_stride, to_stride = y_stride;
    const __mmask32 columns = mask;
    for (int64_t r = 0; r < count; ++r) {
      const int64_t place = places[r];
      if (place < 0) continue;
      TwoVectors row = {_mm512_load_ps(from + r * kSumStride),
                        _mm512_load_ps(from + r * kSumStride + 16)};
      if (kKind == Kind::kPairs) {
        Store((Vec)row.low * Gelu<sizeof(T) == 4>((Vec)row.high), to + place * to_stride);
        continue;
      }
      if (kKind == Kind::kResidual) {
        const TwoVectors more = LoadRow(added + place * added_stride, columns);
        row = {_mm512_add_ps(row.low, more.low), _mm512_add_ps(row.high, more.high)};
      }
      StoreRow(row, columns, to + place * to_stride);
    }
    sums += count * kSumStride;
    out += count;
  }
};

}  // namespace
}  // namespace tiltshift::engine::simd
