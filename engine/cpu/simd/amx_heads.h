// Queries, keys and values on their way into tiles (amx.h has the order).
//
// Included by amx.cc alone: compiled for AVX-512 with BF16.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "engine/cpu/simd/amx.h"
#include "engine/cpu/simd/amx_config.h"
#include "engine/cpu/simd/amx_weights.h"

namespace tiltshift::engine::simd {
namespace {

// Two terms of 16 floats.
struct Terms {
  __m256i large, small;
};
Terms TermsOf(__m512 x) {
  const auto large = (__m256i)_mm512_cvtneps_pbh(x);
  const auto widened = (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(large), 16);
  return {large, (__m256i)_mm512_cvtneps_pbh(_mm512_sub_ps(x, widened))};
}

enum class Side : uint8_t { kQueries, kKeys };

// A row as its side of the scores has it, padded with zeros. Returns its squares, to be summed.
template <Side kSide>
__m512 PlaceRow(const uint16_t* row, bool there, const AmxHead& head, uint16_t* to) {
  __m512 square = _mm512_setzero_ps();
  for (int64_t c = 0; c < head.depth; c += 32) {
    const __m512i part = _mm512_maskz_loadu_epi16(there ? FirstOf(head.d - c) : 0, row + c);
    _mm512_storeu_si512(to + c, part);
    square = _mm512_dpbf16_ps(square, (__m512bh)part, (__m512bh)part);
  }
  return square;
}
template <Side kSide>
__m512 PlaceRow(const float* row, bool there, const AmxHead& head, uint16_t* to) {
  const int64_t d = head.d;
  __m512 square = _mm512_setzero_ps();
  for (int64_t c = 0; c < d; c += 16) {
    const __mmask16 mask = FirstOf16(d - c);
    const __m512 part = _mm512_maskz_loadu_ps(there ? mask : 0, row + c);
    const Terms terms = TermsOf(part);
    _mm256_mask_storeu_epi16(to + c, mask, kSide == Side::kQueries ? terms.small : terms.large);
    _mm256_mask_storeu_epi16(to + d + c, mask, terms.large);
    _mm256_mask_storeu_epi16(to + 2 * d + c, mask, kSide == Side::kQueries ? terms.large : terms.small);
    square = _mm512_fmadd_ps(part, part, square);
  }
  std::fill(to + 3 * d, to + head.depth, uint16_t{0});
  return square;
}

// Keys 16 by 16: dword j of a key (elements 2j, 2j + 1) becomes row j, column key. Returns the largest |key|.
template <class T>
float PackKeys(const T* k, int64_t stride, const AmxHead& head, uint16_t* rows) {
  const __m512i places =
      _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                         _mm512_set1_epi32(static_cast<int>(head.depth * 2)));
  __m512 longest = _mm512_setzero_ps(), squares[16];
  for (int64_t s = 0; s < head.padded_keys; s += 16) {
    for (int64_t i = 0; i < 16; ++i) {
      squares[i] = PlaceRow<Side::kKeys>(k + (s + i) * stride, s + i < head.keys, head, rows + i * head.depth);
    }
    longest = _mm512_max_ps(longest, ReduceRows(squares, [](__m512 x, __m512 y) { return _mm512_add_ps(x, y); }));
    uint16_t* out = head.k + s * head.depth;
    for (int64_t j = 0; 2 * j < head.depth; ++j, out += 32) {
      _mm512_storeu_si512(out, _mm512_i32gather_epi32(places, rows + 2 * j, 1));
    }
  }
  return std::sqrt(_mm512_reduce_max_ps(longest));
}

__m512i SideBySide(__m256i even, __m256i odd) {
  return _mm512_or_si512(_mm512_cvtepu16_epi32(even), _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
}

// Values: the keys of places 2j and 2j + 1 side by side in row j.
void PackValues(const uint16_t* v, int64_t stride, const AmxHead& head) {
  for (int64_t c = 0; c < head.d; c += 16) {
    uint16_t* out = head.v + c / 16 * (head.padded_keys / 32) * kTile;
    for (int64_t s = 0; s < head.padded_keys; s += 2, out += 32) {
      const auto row = [&](int64_t place) {
        const int64_t key = place / 32 * 32 + KeyAt(static_cast<int>(place % 32));
        return _mm256_maskz_loadu_epi16(key < head.keys ? FirstOf16(head.d - c) : 0, v + key * stride + c);
      };
      _mm512_storeu_si512(out, SideBySide(row(s), row(s + 1)));
    }
  }
}
void PackValues(const float* v, int64_t stride, const AmxHead& head) {
  for (int64_t c = 0; c < head.d; c += 16) {
    uint16_t* out = head.v + c / 16 * (head.padded_keys / 32) * 2 * kTile;
    for (int64_t s = 0; s < head.padded_keys; s += 32, out += 2 * kTile) {
      for (int p = 0; p < 32; p += 2) {
        const auto row = [&](int place) {
          const int64_t key = s + SplitKeyAt(place);
          return TermsOf(_mm512_maskz_loadu_ps(key < head.keys ? FirstOf16(head.d - c) : 0, v + key * stride + c));
        };
        const Terms even = row(p), odd = row(p + 1);
        _mm512_storeu_si512(out + p * 16, SideBySide(even.large, odd.large));
        _mm512_storeu_si512(out + kTile + p * 16, SideBySide(even.small, odd.small));
      }
    }
  }
}

}  // namespace
}  // namespace tiltshift::engine::simd
