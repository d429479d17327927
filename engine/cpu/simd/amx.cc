#include "engine/cpu/simd/amx.h"

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/cpu/simd/amx_tiles.h"
#include "engine/cpu/simd/amx_weights.h"

namespace tiltshift::engine::simd {
namespace {

constexpr float kLog2E = 1.44269504f;
constexpr float kSafeScore = 100;  // in binary orders: 2^100 times any number of keys is a float

// One call of AmxAttend. A unit is a block of queries with a block of keys.
class Attention {
 public:
  Attention(const uint16_t* q, const AmxHead& head, const AmxOptions& options, char* scratch, uint16_t* y)
      : q_(q), head_(head), options_(options), y_(y) {
    auto* floats = reinterpret_cast<float*>(scratch);
    for (float*& scores : scores_) scores = std::exchange(floats, floats + kAmxRows * kScoreStride);
    for (float*& totals : totals_) totals = std::exchange(floats, floats + kAmxRows * 16);
    sums_ = std::exchange(floats, floats + kAmxRows * head.padded_d);
    queries_ = reinterpret_cast<uint16_t*>(floats);
  }

  void Run() {
    const int64_t units = (options_.rows + kAmxRows - 1) / kAmxRows * key_blocks_;
    _tile_loadconfig(&kConfig);
    for (int64_t unit = -1; unit <= units; ++unit) {
      TileQueue tiles;
      if (unit > 0) tiles.Add(Values(unit - 1));
      if (unit + 1 < units) tiles.Add(Scores(unit + 1));
      bool grew = false;
      if (unit >= 0 && unit < units) grew = Weigh(unit, &tiles);
      tiles.Drain();
      if (grew) ScaleSums();
      if (unit > 0 && unit % key_blocks_ == 0) Finish(unit / key_blocks_ - 1);
    }
    _tile_release();
  }

 private:
  int64_t KeysOf(int64_t unit) const { return std::min(block_keys_, head_.keys - unit % key_blocks_ * block_keys_); }

  TileProduct Scores(int64_t unit) {
    const int64_t block = unit % key_blocks_, steps = head_.padded_d / 32;
    if (block == 0) TakeQueries(unit / key_blocks_);
    return {.a = queries_,
            .a_bytes = head_.padded_d * 2,
            .b = head_.k + block * block_keys_ * head_.padded_d,
            .column = steps * kTile,
            .steps = steps,
            .columns = (KeysOf(unit) + 31) / 32 * 2,
            .c = scores_[unit & 1],
            .c_bytes = kScoreStride * 4};
  }

  TileProduct Values(int64_t unit) const {
    const int64_t block = unit % key_blocks_;
    return {.a = reinterpret_cast<const uint16_t*>(scores_[unit & 1]),
            .a_bytes = kScoreStride * 4,
            .b = head_.v + block * (block_keys_ / 32) * kTile,
            .column = head_.padded_keys / 32 * kTile,
            .steps = (KeysOf(unit) + 31) / 32,
            .columns = (head_.d + 15) / 16,
            .c = sums_,
            .c_bytes = head_.padded_d * 4,
            .add = block > 0};
  }

  // Copies a block's queries, padded with zeros, and decides whether their weights need a top.
  void TakeQueries(int64_t block) {
    __m512 longest = _mm512_setzero_ps(), squares[16];
    for (int64_t r = 0; r < kAmxRows; ++r) {
      const int64_t row = block * kAmxRows + r;
      __m512& square = squares[r % 16];
      square = _mm512_setzero_ps();
      for (int64_t c = 0; c < head_.padded_d; c += 32) {
        const __mmask32 mask = row < options_.rows ? FirstOf(head_.d - c) : 0;
        const __m512i part = _mm512_maskz_loadu_epi16(mask, q_ + row * options_.q_stride + c);
        _mm512_storeu_si512(queries_ + r * head_.padded_d + c, part);
        square = _mm512_dpbf16_ps(square, (__m512bh)part, (__m512bh)part);
      }
      if (r % 16 != 15) continue;
      const auto add = [](__m512 x, __m512 y) { return _mm512_add_ps(x, y); };
      longest = _mm512_max_ps(longest, ReduceRows(squares, add));
    }
    const float bound = std::sqrt(_mm512_reduce_max_ps(longest)) * head_.longest * options_.scale * kLog2E;
    needs_top_[block & 1] = !(bound < kSafeScore);
  }

  // A unit's scores to weights, in their place, and the rows' totals; between the rows the tiles go on. Whether
  // sums of the units before must be scaled.
  bool Weigh(int64_t unit, TileQueue* tiles) {
    const int64_t block = unit / key_blocks_, keys = KeysOf(unit);
    const bool first = unit % key_blocks_ == 0;
    float* scores = scores_[unit & 1];
    float* totals = totals_[block & 1];
    const bool grew = needs_top_[block & 1] ? FindTops(scores, keys, first, totals) : ClearTops();
    // Shared out evenly over the gaps: in 1024ths, so that none divides.
    const int64_t share = (tiles->left() << 10) / (kAmxRows * (keys / 64 + 1));
    int64_t due = 0;
    const auto between = [&]() __attribute__((always_inline)) {
      due += share;
      tiles->Work(due >> 10);
      due &= 1023;
    };
    for (int64_t r = 0; r < kAmxRows; ++r) {
      float* row = scores + r * kScoreStride;
      const __m512 before = first ? _mm512_setzero_ps() : _mm512_load_ps(totals + r * 16);
      const __m512 sum = WeighRow(row, keys, last_places_, options_.scale * kLog2E, tops_[r],
                                  reinterpret_cast<uint16_t*>(row), between);
      _mm512_store_ps(totals + r * 16, _mm512_add_ps(before, sum));
    }
    return grew;
  }

  bool ClearTops() {
    std::fill_n(tops_, kAmxRows, 0.0f);
    return false;
  }

  // Each row's largest score so far; totals are scaled to it at once, sums when the tiles are done with them.
  bool FindTops(const float* scores, int64_t keys, bool first, float* totals) {
    bool grew = false;
    for (int64_t r = 0; r < kAmxRows; r += 16) {
      __m512 rows[16];
      for (int i = 0; i < 16; ++i) rows[i] = Largest(scores + (r + i) * kScoreStride, keys);
      const __m512 before = _mm512_load_ps(tops_ + r);
      __m512 top = _mm512_mul_ps(ReduceRows(rows, [](__m512 a, __m512 b) { return _mm512_max_ps(a, b); }),
                                 _mm512_set1_ps(options_.scale * kLog2E));
      if (!first) top = _mm512_max_ps(top, before);
      _mm512_store_ps(tops_ + r, top);
      if (first || _mm512_cmp_ps_mask(top, before, _CMP_GT_OQ) == 0) {
        std::fill_n(scales_ + r, 16, 1.0f);
        continue;
      }
      grew = true;
      _mm512_store_ps(scales_ + r, Power(_mm512_sub_ps(before, top)));
      for (int64_t i = r; i < r + 16; ++i) {
        _mm512_store_ps(totals + i * 16, _mm512_mul_ps(_mm512_load_ps(totals + i * 16), _mm512_set1_ps(scales_[i])));
      }
    }
    return grew;
  }

  void ScaleSums() {
    float* sums = sums_;
    for (int64_t r = 0; r < kAmxRows; ++r) {
      for (int64_t c = 0; c < head_.padded_d; c += 16, sums += 16) {
        _mm512_store_ps(sums, _mm512_mul_ps(_mm512_load_ps(sums), _mm512_set1_ps(scales_[r])));
      }
    }
  }

  void Finish(int64_t block) {
    const int64_t rows = std::min(kAmxRows, options_.rows - block * kAmxRows);
    const float* totals = totals_[block & 1];
    uint16_t* y = y_ + block * kAmxRows * options_.y_stride;
    for (int64_t r = 0; r < rows; ++r, y += options_.y_stride) {
      const __m512 by = _mm512_set1_ps(1 / _mm512_reduce_add_ps(_mm512_load_ps(totals + r * 16)));
      for (int64_t c = 0; c < head_.d; c += 16) {
        const __m512 value = _mm512_mul_ps(_mm512_loadu_ps(sums_ + r * head_.padded_d + c), by);
        _mm256_mask_storeu_epi16(y + c, FirstOf16(head_.d - c), (__m256i)_mm512_cvtneps_pbh(value));
      }
    }
  }

  const uint16_t* q_;
  const AmxHead& head_;
  const AmxOptions& options_;
  uint16_t* y_;
  const __mmask32 last_places_ = PlacesOf(head_.keys % 32);  // a block is whole 32s, or the last
  const int64_t block_keys_ = AmxBlockKeys(head_);
  const int64_t key_blocks_ = (head_.keys + block_keys_ - 1) / block_keys_;
  float* scores_[2];   // [kAmxRows, kAmxKeys] of an odd and an even unit; weights lie at the rows' beginnings
  float* totals_[2];   // [kAmxRows, 16] of an odd and an even block of queries: their weights' sums
  float* sums_;        // [kAmxRows, padded_d]
  uint16_t* queries_;  // the same
  bool needs_top_[2] = {};
  alignas(64) float tops_[kAmxRows] = {};
  alignas(64) float scales_[kAmxRows];
};

}  // namespace

float AmxPackHead(const uint16_t* k, const uint16_t* v, int64_t stride, const AmxHead& head) {
  const int64_t pair_steps = head.padded_d / 2;
  // k: dword j of a key (dims 2j, 2j+1) becomes row j, column key.
  const __m512i rows =
      _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                         _mm512_set1_epi32(static_cast<int>(stride * 2)));
  __m512 longest = _mm512_setzero_ps();
  for (int64_t s = 0; s < head.padded_keys; s += 16) {
    const __mmask16 keys = FirstOf16(head.keys - s);
    uint16_t* out = head.k + s * head.padded_d;
    __m512 square = _mm512_setzero_ps();
    int64_t j = 0;
    for (; 2 * j < head.d; ++j, out += 32) {
      const __m512i column = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), keys, rows,
                                                         k + s * stride + 2 * j, 1);
      _mm512_storeu_si512(out, column);
      square = _mm512_dpbf16_ps(square, (__m512bh)column, (__m512bh)column);
    }
    longest = _mm512_max_ps(longest, square);
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
  return std::sqrt(_mm512_reduce_max_ps(longest));
}

void AmxAttend(const uint16_t* q, const AmxHead& head, const AmxOptions& options, char* scratch, uint16_t* y) {
  Attention(q, head, options, scratch, y).Run();
}

}  // namespace tiltshift::engine::simd
