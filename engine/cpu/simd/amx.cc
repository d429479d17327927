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

// exp(t * ln 2), within 1e-4: enough for a weight that is rounded to bf16.
__m512 Exp2(__m512 t) {
  const __m512 f = _mm512_reduce_ps(t, 0x08);
  __m512 p = _mm512_fmadd_ps(f, _mm512_set1_ps(5.50090222e-2f), _mm512_set1_ps(2.42211313e-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.93282956e-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, _mm512_sub_ps(t, f));
}

float Largest(const float* scores, int64_t keys) {
  __m512 largest0 = _mm512_set1_ps(-3e38f), largest1 = largest0;
  int64_t s = 0;
  for (; s + 32 <= keys; s += 32) {
    largest0 = _mm512_max_ps(largest0, _mm512_loadu_ps(scores + s));
    largest1 = _mm512_max_ps(largest1, _mm512_loadu_ps(scores + s + 16));
  }
  for (; s < keys; s += 16) {
    largest0 = _mm512_mask_max_ps(largest0, FirstOf16(keys - s), largest0, _mm512_loadu_ps(scores + s));
  }
  return _mm512_reduce_max_ps(_mm512_max_ps(largest0, largest1));
}

// 2^(score * factor - top) for the keys of a row, as bf16 and zero past the last key; returns their sum.
__m512 Weigh(const float* scores, const AmxHead& head, float factor, float top, uint16_t* weights) {
  const __m512 by = _mm512_set1_ps(factor);
  const __m512 minus = _mm512_set1_ps(-top);
  __m512 sum0 = _mm512_setzero_ps(), sum1 = sum0;
  const auto pair = [&](int64_t at, __mmask16 low, __mmask16 high) {
    const __m512 a = _mm512_maskz_mov_ps(low, Exp2(_mm512_fmadd_ps(_mm512_loadu_ps(scores + at), by, minus)));
    const __m512 b =
        _mm512_maskz_mov_ps(high, Exp2(_mm512_fmadd_ps(_mm512_loadu_ps(scores + at + 16), by, minus)));
    sum0 = _mm512_add_ps(sum0, a);
    sum1 = _mm512_add_ps(sum1, b);
    _mm512_storeu_si512(weights + at, (__m512i)_mm512_cvtne2ps_pbh(b, a));
  };
  int64_t s = 0;
  for (; s + 32 <= head.keys; s += 32) pair(s, 0xffff, 0xffff);
  if (s < head.padded_keys) pair(s, FirstOf16(head.keys - s), FirstOf16(head.keys - s - 16));
  return _mm512_add_ps(sum0, sum1);
}

// Rows of scores to unnormalised weights, and one over each row's sum. In passes over all rows, so that no row
// waits for another's horizontal reduction.
void Softmax(const float* scores, const AmxHead& head, const AmxOptions& options, uint16_t* weights,
             float* inverse) {
  const float factor = options.scale * 1.44269504f;
  float tops[kAmxRows];
  for (int64_t r = 0; r < options.rows; ++r) {
    tops[r] = Largest(scores + r * head.padded_keys, head.keys) * factor;
  }
  alignas(64) float sums[kAmxRows][16];
  for (int64_t r = 0; r < options.rows; ++r) {
    const __m512 sum = Weigh(scores + r * head.padded_keys, head, factor, tops[r], weights + r * head.padded_keys);
    _mm512_store_ps(sums[r], sum);
  }
  for (int64_t r = 0; r < options.rows; ++r) {
    inverse[r] = 1.0f / _mm512_reduce_add_ps(_mm512_load_ps(sums[r]));
  }
}

// c [32, 16 or 32 columns at a time] = a [32, depth] * b; a's rows are `a_stride` elements apart, b's tiles go
// [column tile][depth / 32].
void Multiply(const uint16_t* a, int64_t a_stride, const uint16_t* b, int64_t depth, int64_t columns, float* c,
              int64_t c_stride) {
  const int64_t steps = depth / 32;
  const int64_t a_bytes = a_stride * 2, c_bytes = c_stride * 4;
  for (int64_t n = 0; n < columns; n += 32) {
    const uint16_t* b0 = b + n / 16 * steps * kTile;
    const uint16_t* b1 = b0 + steps * kTile;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t k = 0; k < steps; ++k) {
      _tile_loadd(4, a + k * 32, a_bytes);
      _tile_loadd(6, b0 + k * kTile, 64);
      _tile_loadd(7, b1 + k * kTile, 64);
      _tile_loadd(5, a + 16 * a_stride + k * 32, a_bytes);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c + n, c_bytes);
    _tile_stored(1, c + n + 16, c_bytes);
    _tile_stored(2, c + 16 * c_stride + n, c_bytes);
    _tile_stored(3, c + 16 * c_stride + n + 16, c_bytes);
  }
}

}  // namespace

void AmxPackHead(const uint16_t* k, const uint16_t* v, int64_t stride, const AmxHead& head) {
  const int64_t pair_steps = head.padded_d / 2;
  // k: dword j of a key (dims 2j, 2j+1) becomes row j, column key.
  const __m512i rows = _mm512_mullo_epi32(
      _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
      _mm512_set1_epi32(static_cast<int>(stride * 2)));
  for (int64_t s = 0; s < head.padded_keys; s += 16) {
    const __mmask16 keys = FirstOf16(head.keys - s);
    uint16_t* out = head.k + s * head.padded_d;
    int64_t j = 0;
    for (; 2 * j < head.d; ++j, out += 32) {
      const __m512i column =
          _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), keys, rows, k + s * stride + 2 * j, 1);
      _mm512_storeu_si512(out, column);
    }
    for (; j < pair_steps; ++j, out += 32) _mm512_storeu_si512(out, _mm512_setzero_si512());
  }
  // v: keys 2j and 2j+1 side by side in row j.
  const int64_t key_steps = head.padded_keys / 32;
  for (int64_t c = 0; c < head.padded_d; c += 16) {
    uint16_t* out = head.v + c / 16 * key_steps * kTile;
    const __mmask16 columns = FirstOf16(head.d - c);
    for (int64_t s = 0; s < head.padded_keys; s += 2, out += 32) {
      const auto row = [&](int64_t key) {
        const __mmask16 mask = key < head.keys ? columns : 0;
        return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, v + key * stride + c));
      };
      _mm512_storeu_si512(out, _mm512_or_si512(row(s), _mm512_slli_epi32(row(s + 1), 16)));
    }
  }
}

void AmxAttend(const uint16_t* q, const AmxHead& head, const AmxOptions& options, char* scratch, uint16_t* y) {
  auto* scores = reinterpret_cast<float*>(scratch);                               // [32, padded_keys]
  auto* sums = scores + kAmxRows * head.padded_keys;                              // [32, padded_d]
  auto* weights = reinterpret_cast<uint16_t*>(sums + kAmxRows * head.padded_d);  // [32, padded_keys]
  auto* queries = weights + kAmxRows * head.padded_keys;                          // [32, padded_d]
  for (int64_t r = 0; r < kAmxRows; ++r) {
    for (int64_t c = 0; c < head.padded_d; c += 32) {
      const __mmask32 mask = r < options.rows ? FirstOf(head.d - c) : 0;
      _mm512_storeu_si512(queries + r * head.padded_d + c,
                          _mm512_maskz_loadu_epi16(mask, q + r * options.q_stride + c));
    }
  }
  _tile_loadconfig(&kConfig);
  Multiply(queries, head.padded_d, head.k, head.padded_d, head.padded_keys, scores, head.padded_keys);
  float inverse[kAmxRows];
  Softmax(scores, head, options, weights, inverse);
  Multiply(weights, head.padded_keys, head.v, head.padded_keys, head.padded_d, sums, head.padded_d);
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

}  // namespace tiltshift::engine::simd
