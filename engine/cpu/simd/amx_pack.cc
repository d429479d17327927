#include <immintrin.h>

#include "base/transpose.h"
#include "engine/cpu/simd/amx_product.h"

namespace tiltshift::engine::simd {
namespace {

constexpr int64_t kTileColumns = 16;
constexpr int64_t kTileElements = kTileColumns * kStepDepth;

struct Row {
  __m512 low, high;
};

// FloatToBfloat16 of each, in the low half of 32 bits: to nearest, also where the processor's own
// instruction would make zeros of the smallest numbers.
__m512i Rounded(__m512 x) {
  const __m512i bits = (__m512i)x;
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
  return _mm512_srli_epi32(_mm512_add_epi32(bits, up), 16);
}

// The row's next term, and what it leaves in the row.
__m512i TakeTerm(Row* row) {
  const __m512i low = Rounded(row->low), high = Rounded(row->high);
  row->low = _mm512_sub_ps(row->low, (__m512)_mm512_slli_epi32(low, 16));
  row->high = _mm512_sub_ps(row->high, (__m512)_mm512_slli_epi32(high, 16));
  return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(low)),
                            _mm512_cvtepi32_epi16(high), 1);
}

}  // namespace

void AmxPackStep(const float* rows, int64_t row_stride, int64_t channel_stride, int terms,
                 uint16_t* out) {
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i places =
      _mm512_mullo_epi32(lane, _mm512_set1_epi32(static_cast<int>(channel_stride)));
  const auto load = [&](const float* from) {
    return channel_stride == 1 ? _mm512_loadu_ps(from) : _mm512_i32gather_ps(places, from, 4);
  };
  for (int64_t tile = 0; tile < kPanelColumns / kTileColumns; ++tile) {
    Row left[kTileColumns];
    for (Row& row : left) {
      row = {load(rows), load(rows + 16 * channel_stride)};
      rows += row_stride;
    }
    for (int t = 0; t < terms; ++t) {
      __m512i pairs[kTileColumns];
      for (int64_t n = 0; n < kTileColumns; ++n) pairs[n] = TakeTerm(&left[n]);
      Transpose(pairs);
      uint16_t* to = out + (t * 2 + tile) * kTileElements;
      for (int64_t pair = 0; pair < kTileColumns; ++pair)
        _mm512_storeu_si512(to + pair * kStepDepth, pairs[pair]);
    }
  }
}

}  // namespace tiltshift::engine::simd
