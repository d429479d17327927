#include "engine/cpu/simd/amx.h"

#include <immintrin.h>

namespace tiltshift::engine::simd {
namespace {

constexpr int64_t kTile = 512;  // elements of a 16 x 32 tile

// Tiles 0-3: sums; 4, 5: queries or weights; 6, 7: keys or values. All 16 rows of 64 bytes.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileConfig kConfig;

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
// places of the keys past the last whole 32.
__m512 Weigh(const float* scores, const AmxHead& head, __mmask32 last, float factor, float top,
             uint16_t* weights) {
  const __m512 by = _mm512_set1_ps(factor * 128);
  const __m512 minus = _mm512_set1_ps((127 - top) * 128);
  const __m512i low = _mm512_load_si512(kFractions.of),
                high = _mm512_load_si512(kFractions.of + 64);
  const __m512i fraction = _mm512_set1_epi16(0x7f);
  const __m512bh ones = (__m512bh)_mm512_set1_epi16(0x3f80);
  __m512 sum = _mm512_setzero_ps();
  const auto pair = [&](int64_t at, __mmask32 places) {
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
  for (; s + 32 <= head.keys; s += 32) pair(s, ~0u);
  if (s < head.padded_keys) pair(s, last);
  return sum;
}

// 16 rows of scores to unnormalised weights in their place; returns one over each row's sum.
__m512 Softmax(float* scores, int64_t stride, const AmxHead& head, float scale) {
  const float factor = scale * 1.44269504f;
  const __mmask32 last = PlacesOf(head.keys % 32);
  __m512 rows[16];
  for (int r = 0; r < 16; ++r) rows[r] = Largest(scores + r * stride, head.keys);
  const __m512 largest = ReduceRows(rows, [](__m512 a, __m512 b) { return _mm512_max_ps(a, b); });
  alignas(64) float tops[16];
  _mm512_store_ps(tops, _mm512_mul_ps(largest, _mm512_set1_ps(factor)));
  for (int r = 0; r < 16; ++r) {
    float* row = scores + r * stride;
    rows[r] = Weigh(row, head, last, factor, tops[r], reinterpret_cast<uint16_t*>(row));
  }
  const __m512 sums = ReduceRows(rows, [](__m512 a, __m512 b) { return _mm512_add_ps(a, b); });
  return _mm512_div_ps(_mm512_set1_ps(1), sums);
}

// c [16 * kRows, 16 * kColumns] = a [16 * kRows, 32 * steps] * b, whose columns are `steps` tiles
// each.
template <int kRows, int kColumns>
void MultiplyTiles(const uint16_t* a, int64_t a_stride, const uint16_t* b, int64_t steps, float* c,
                   int64_t c_stride) {
  const int64_t a_bytes = a_stride * 2, c_bytes = c_stride * 4;
  const uint16_t* a1 = a + 16 * a_stride;
  const uint16_t* b1 = b + steps * kTile;
  _tile_zero(0);
  if (kColumns == 2) _tile_zero(1);
  if (kRows == 2) _tile_zero(2);
  if (kRows == 2 && kColumns == 2) _tile_zero(3);
  for (int64_t k = 0; k < steps; ++k) {
    _tile_loadd(4, a + k * 32, a_bytes);
    _tile_loadd(6, b + k * kTile, 64);
    if (kColumns == 2) _tile_loadd(7, b1 + k * kTile, 64);
    if (kRows == 2) _tile_loadd(5, a1 + k * 32, a_bytes);
    _tile_dpbf16ps(0, 4, 6);
    if (kColumns == 2) _tile_dpbf16ps(1, 4, 7);
    if (kRows == 2) _tile_dpbf16ps(2, 5, 6);
    if (kRows == 2 && kColumns == 2) _tile_dpbf16ps(3, 5, 7);
  }
  float* c1 = c + 16 * c_stride;
  _tile_stored(0, c, c_bytes);
  if (kColumns == 2) _tile_stored(1, c + 16, c_bytes);
  if (kRows == 2) _tile_stored(2, c1, c_bytes);
  if (kRows == 2 && kColumns == 2) _tile_stored(3, c1 + 16, c_bytes);
}

// c [16 * kRows, columns] = a [16 * kRows, depth] * b; rows of a are `a_stride` elements apart, b's
// tiles go [column tile][depth / 32]; columns is a multiple of 16.
template <int kRows>
void Multiply(const uint16_t* a, int64_t a_stride, const uint16_t* b, int64_t depth,
              int64_t columns, float* c, int64_t c_stride) {
  const int64_t steps = depth / 32;
  int64_t n = 0;
  for (; n + 32 <= columns; n += 32) {
    MultiplyTiles<kRows, 2>(a, a_stride, b + n / 16 * steps * kTile, steps, c + n, c_stride);
  }
  if (n < columns)
    MultiplyTiles<kRows, 1>(a, a_stride, b + n / 16 * steps * kTile, steps, c + n, c_stride);
}

}  // namespace

void AmxPackHead(const uint16_t* k, const uint16_t* v, int64_t stride, const AmxHead& head) {
  const int64_t pair_steps = head.padded_d / 2;
  // k: dword j of a key (dims 2j, 2j+1) becomes row j, column key.
  const __m512i rows =
      _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                         _mm512_set1_epi32(static_cast<int>(stride * 2)));
  for (int64_t s = 0; s < head.padded_keys; s += 16) {
    const __mmask16 keys = FirstOf16(head.keys - s);
    uint16_t* out = head.k + s * head.padded_d;
    int64_t j = 0;
    for (; 2 * j < head.d; ++j, out += 32) {
      const __m512i column = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), keys, rows,
                                                         k + s * stride + 2 * j, 1);
      _mm512_storeu_si512(out, column);
    }
    for (; j < pair_steps; ++j, out += 32) _mm512_storeu_si512(out, _mm512_setzero_si512());
  }
  // v: the keys of places 2j and 2j+1 side by side in row j.
  const int64_t key_steps = head.padded_keys / 32;
  for (int64_t c = 0; c < head.d; c += 16) {
    uint16_t* out = head.v + c / 16 * key_steps * kTile;
    const __mmask16 columns = FirstOf16(head.d - c);
    for (int64_t s = 0; s < head.padded_keys; s += 2, out += 32) {
      const auto row = [&](int64_t place) {
        const int64_t key = place / 32 * 32 + KeyAt(place % 32);
        const __mmask16 mask = key < head.keys ? columns : 0;
        return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, v + key * stride + c));
      };
      _mm512_storeu_si512(out, _mm512_or_si512(row(s), _mm512_slli_epi32(row(s + 1), 16)));
    }
  }
}

namespace {

template <int kRows>
void Attend(const uint16_t* q, const AmxHead& head, const AmxOptions& options, char* scratch,
            uint16_t* y) {
  const int64_t stride = ScoreStride(head);
  // Weights are written over the scores they come from: half the bytes, so never ahead of what is
  // read.
  auto* scores = reinterpret_cast<float*>(scratch);     // [16 * kRows, padded_keys]
  auto* weights = reinterpret_cast<uint16_t*>(scores);  // rows 2 * padded_keys apart
  auto* sums = scores + kAmxRows * stride;              // [16 * kRows, padded_d]
  auto* queries =
      reinterpret_cast<uint16_t*>(sums + kAmxRows * head.padded_d);  // [16 * kRows, padded_d]
  for (int64_t r = 0; r < 16 * kRows; ++r) {
    for (int64_t c = 0; c < head.padded_d; c += 32) {
      const __mmask32 mask = r < options.rows ? FirstOf(head.d - c) : 0;
      _mm512_storeu_si512(queries + r * head.padded_d + c,
                          _mm512_maskz_loadu_epi16(mask, q + r * options.q_stride + c));
    }
  }
  _tile_loadconfig(&kConfig);
  Multiply<kRows>(queries, head.padded_d, head.k, head.padded_d, head.padded_keys, scores, stride);
  alignas(64) float inverse[kAmxRows];
  for (int64_t r = 0; r < 16 * kRows; r += 16) {
    _mm512_store_ps(inverse + r, Softmax(scores + r * stride, stride, head, options.scale));
  }
  Multiply<kRows>(weights, 2 * stride, head.v, head.padded_keys, (head.d + 15) / 16 * 16, sums,
                  head.padded_d);
  _tile_release();
  for (int64_t r = 0; r < options.rows; ++r) {
    const __m512 by = _mm512_set1_ps(inverse[r]);
    for (int64_t c = 0; c < head.d; c += 16) {
      const __m512 value = _mm512_mul_ps(_mm512_loadu_ps(sums + r * head.padded_d + c), by);
      _mm256_mask_storeu_epi16(y + r * options.y_stride + c, FirstOf16(head.d - c),
                               (__m256i)_mm512_cvtneps_pbh(value));
    }
  }
}

}  // namespace

void AmxAttend(const uint16_t* q, const AmxHead& head, const AmxOptions& options, char* scratch,
               uint16_t* y) {
  options.rows > 16 ? Attend<2>(q, head, options, scratch, y)
                    : Attend<1>(q, head, options, scratch, y);
}

}  // namespace tiltshift::engine::simd
