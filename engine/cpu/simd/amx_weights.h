// Rows of scores to weights, with the widest vectors: what amx.cc does between its tile products.
//
// Included by amx.cc alone: compiled for AVX-512 with BF16 and VBMI.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <initializer_list>

namespace tiltshift::engine::simd {
namespace {

__mmask32 FirstOf(int64_t count) { return count >= 32 ? ~0u : count <= 0 ? 0u : (1u << count) - 1; }
__mmask16 FirstOf16(int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffff : count <= 0 ? 0 : (1 << count) - 1);
}

// 2^(i/128) - 1 in the 7 bits of a bf16's fraction.
struct alignas(64) Fractions {
  uint8_t of[128] = {};
  constexpr Fractions() {
    double power = 1;
    for (uint8_t& fraction : of) {
      fraction = static_cast<uint8_t>(128 * (power - 1) + 0.5);
      power *= 1.0054299011128027;  // 2^(1/128)
    }
  }
};
constexpr Fractions kFractions;

// The largest of each lane over a row's keys.
__m512 Largest(const float* scores, int64_t keys) {
  __m512 largest0 = _mm512_set1_ps(-3e38f), largest1 = largest0;
  int64_t s = 0;
  for (; s + 32 <= keys; s += 32) {
    largest0 = _mm512_max_ps(largest0, _mm512_loadu_ps(scores + s));
    largest1 = _mm512_max_ps(largest1, _mm512_loadu_ps(scores + s + 16));
  }
  for (; s < keys; s += 16) {
    largest0 =
        _mm512_mask_max_ps(largest0, FirstOf16(keys - s), largest0, _mm512_loadu_ps(scores + s));
  }
  return _mm512_max_ps(largest0, largest1);
}

// Reduces each of 16 vectors to a float, all at once: lane r is op over rows[r].
template <class Op>
__m512 ReduceRows(const __m512 (&rows)[16], Op op) {
  __m512 pairs[8], fours[4], halves[2];
  for (int i = 0; i < 8; ++i) {
    const __m512 a = rows[2 * i], b = rows[2 * i + 1];
    pairs[i] = op(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  }
  for (int i = 0; i < 4; ++i) {
    const __m512d a = (__m512d)pairs[2 * i], b = (__m512d)pairs[2 * i + 1];
    fours[i] = op((__m512)_mm512_unpacklo_pd(a, b), (__m512)_mm512_unpackhi_pd(a, b));
  }
  const auto halve = [&](__m512 a, __m512 b) {
    return op(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  };
  for (int i = 0; i < 2; ++i) halves[i] = halve(fours[2 * i], fours[2 * i + 1]);
  return halve(halves[0], halves[1]);
}

// Packing two vectors into one interleaves their quarters, so the weights of 32 keys lie in this
// order, and the values are packed to match: place p of 32 holds this key of the 32.
constexpr int KeyAt(int p) { return p % 8 < 4 ? p / 8 * 4 + p % 8 : 16 + p / 8 * 4 + p % 8 - 4; }

// 2^x for x <= 0, within 3e-6.
__m512 Power(__m512 x) {
  const __m512 f = _mm512_reduce_ps(x, 0x08);
  __m512 p = _mm512_set1_ps(9.58286949e-3f);
  for (const float next : {5.59064681e-2f, 2.40240986e-1f, 6.93124188e-1f, 1.0f}) {
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(next));
  }
  return _mm512_scalef_ps(p, _mm512_sub_ps(x, f));
}

// The places of the first `count` keys of 32.
__mmask32 PlacesOf(int64_t count) {
  __mmask32 mask = 0;
  for (int p = 0; p < 32; ++p) mask |= static_cast<__mmask32>(KeyAt(p) < count) << p;
  return mask;
}

// 2^(score * factor - top) for the keys of a row, as bf16 and zero past the last key; returns their
// sum.
//
// The exponent in steps of 1/128 is a bf16's bits but for its fraction, which a table of bytes puts
// right: a weight is within 0.5% of its score's, about two of bf16's own roundings, and the sum is
// of what was rounded. A score 127 binary orders below the top one weighs nothing. `last`: the
// places of the keys past the last whole 32. `between` is called after each 64 keys.
template <class Between>
__attribute__((always_inline)) inline __m512 WeighRow(const float* scores, int64_t keys, __mmask32 last,
                                                      float factor, float top, uint16_t* weights,
                                                      const Between& between) {
  const __m512 by = _mm512_set1_ps(factor * 128);
  const __m512 minus = _mm512_set1_ps((127 - top) * 128);
  const __m512i low = _mm512_load_si512(kFractions.of),
                high = _mm512_load_si512(kFractions.of + 64);
  const __m512i fraction = _mm512_set1_epi16(0x7f);
  const __m512bh ones = (__m512bh)_mm512_set1_epi16(0x3f80);
  __m512 sum = _mm512_setzero_ps();
  const auto pair = [&](int64_t at, __mmask32 places) __attribute__((always_inline)) {
    const __m512i a = _mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_loadu_ps(scores + at), by, minus));
    const __m512i b =
        _mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_loadu_ps(scores + at + 16), by, minus));
    const __m512i bits = _mm512_maskz_packus_epi32(places, a, b);
    const __m512i table = _mm512_permutex2var_epi8(low, bits, high);
    const __m512i weight = _mm512_ternarylogic_epi32(bits, table, fraction, 0xd8);
    _mm512_storeu_si512(weights + at, weight);
    sum = _mm512_dpbf16_ps(sum, (__m512bh)weight, ones);
  };
  int64_t s = 0;
  for (; s + 64 <= keys; s += 64) {
    pair(s, ~0u);
    pair(s + 32, ~0u);
    between();
  }
  if (s + 32 <= keys) {
    pair(s, ~0u);
    s += 32;
  }
  if (s < keys) pair(s, last);
  between();
  return sum;
}

// In fp32 the weights of 32 keys, as two terms each, lie in this order.
constexpr int SplitKeyAt(int p) { return p % 2 * 16 + p / 2; }

// 2^x, within 1e-7.
__m512 ExactPower(__m512 x) {
  const __m512 f = _mm512_reduce_ps(x, 0x08);
  __m512 p = _mm512_set1_ps(1.32647273e-3f);
  for (const float next : {9.67151305e-3f, 5.55073375e-2f, 2.40222421e-1f, 6.93146978e-1f, 1.0f}) {
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(next));
  }
  return _mm512_scalef_ps(p, _mm512_sub_ps(x, f));
}

// WeighRow in fp32: a row's scores become, in their place, weights of two terms, 32 large ones before the 32 small ones
// that are left of them; both rounded to nearest, so that nothing is biased. `between` is called as there.
template <class Between>
__attribute__((always_inline)) inline __m512 WeighSplitRow(float* scores, int64_t keys, float factor, float top,
                                                           const Between& between) {
  const __m512 by = _mm512_set1_ps(factor), minus = _mm512_set1_ps(-top);
  const __m512i half = _mm512_set1_epi32(0x8000), upper = _mm512_set1_epi32(static_cast<int>(0xffff0000));
  __m512 sum = _mm512_setzero_ps();
  const auto rounded = [&](__m512 x) __attribute__((always_inline)) {
    return _mm512_and_si512(_mm512_add_epi32((__m512i)x, half), upper);
  };
  const auto pair = [&](float* at, int64_t left) __attribute__((always_inline)) {
    __m512 a = ExactPower(_mm512_fmadd_ps(_mm512_loadu_ps(at), by, minus));
    __m512 b = ExactPower(_mm512_fmadd_ps(_mm512_loadu_ps(at + 16), by, minus));
    if (left < 32) {
      a = _mm512_maskz_mov_ps(FirstOf16(left), a);
      b = _mm512_maskz_mov_ps(FirstOf16(left - 16), b);
    }
    sum = _mm512_add_ps(sum, _mm512_add_ps(a, b));
    const __m512i large_a = rounded(a), large_b = rounded(b);
    const __m512i small_a = rounded(_mm512_sub_ps(a, (__m512)large_a)),
                  small_b = rounded(_mm512_sub_ps(b, (__m512)large_b));
    _mm512_storeu_si512(at, _mm512_or_si512(_mm512_srli_epi32(large_a, 16), large_b));
    _mm512_storeu_si512(at + 16, _mm512_or_si512(_mm512_srli_epi32(small_a, 16), small_b));
  };
  int64_t s = 0;
  for (; s + 64 <= keys; s += 64) {
    pair(scores + s, 32);
    pair(scores + s + 32, 32);
    between();
  }
  for (; s < keys; s += 32) pair(scores + s, keys - s);
  between();
  return sum;
}

}  // namespace
}  // namespace tiltshift::engine::simd
