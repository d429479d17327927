#include "engine/cpu/simd/amx.h"

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/cpu/simd/amx_heads.h"
#include "engine/cpu/simd/amx_tiles.h"
#include "engine/cpu/simd/amx_weights.h"

namespace tiltshift::engine::simd {
namespace {

constexpr float kLog2E = 1.44269504f;
constexpr float kSafeScore = 100;  // in binary orders: 2^100 times any number of keys is a float

void StoreRow(__m512 values, __mmask16 mask, uint16_t* to) {
  _mm256_mask_storeu_epi16(to, mask, (__m256i)_mm512_cvtneps_pbh(values));
}
void StoreRow(__m512 values, __mmask16 mask, float* to) { _mm512_mask_storeu_ps(to, mask, values); }

// One call of AmxAttend, in bf16 or in floats. A unit is a block of queries with a block of keys.
template <class T>
class Attention {
 public:
  Attention(const T* q, const AmxHead& head, const AmxOptions& options, char* scratch, T* y)
      : q_(q), head_(head), options_(options), y_(y) {
    auto* floats = reinterpret_cast<float*>(scratch);
    for (float*& scores : scores_) scores = std::exchange(floats, floats + kAmxRows * kScoreStride);
    totals_ = std::exchange(floats, floats + kAmxMostRows * 16);
    tops_ = std::exchange(floats, floats + kAmxMostRows);
    sums_ = std::exchange(floats, floats + kAmxMostRows * head.padded_d);
    queries_ = reinterpret_cast<uint16_t*>(floats);
  }

  void Run() {
    const int64_t units = blocks_ * key_blocks_;
    _tile_loadconfig(&kConfig);
    for (int64_t unit = -1; unit <= units; ++unit) {
      TileQueue tiles;
      if (unit > 0) tiles.Add(Values(unit - 1));
      if (unit + 1 < units) tiles.Add(Scores(unit + 1));
      bool grew = false;
      if (unit >= 0 && unit < units) grew = Weigh(unit, &tiles);
      tiles.Drain();
      if (grew) ScaleSums(BlockOf(unit));
      if (unit > 0 && KeyBlockOf(unit - 1) == key_blocks_ - 1) Finish(BlockOf(unit - 1));
    }
    _tile_release();
  }

 private:
  static constexpr bool kFp32 = sizeof(T) == 4;

  int64_t BlockOf(int64_t unit) const { return unit % blocks_; }
  int64_t KeyBlockOf(int64_t unit) const { return unit / blocks_; }
  int64_t KeysOf(int64_t unit) const { return std::min(block_keys_, head_.keys - KeyBlockOf(unit) * block_keys_); }
  uint16_t* QueriesOf(int64_t block) const { return queries_ + block * kAmxRows * head_.depth; }
  float* SumsOf(int64_t block) const { return sums_ + block * kAmxRows * head_.padded_d; }
  float* TotalsOf(int64_t block) const { return totals_ + block * kAmxRows * 16; }
  float* TopsOf(int64_t block) const { return tops_ + block * kAmxRows; }

  TileProduct Scores(int64_t unit) {
    const int64_t steps = head_.depth / 32;
    if (KeyBlockOf(unit) == 0) TakeQueries(BlockOf(unit));
    return {.a = QueriesOf(BlockOf(unit)),
            .a_bytes = head_.depth * 2,
            .b = head_.k + KeyBlockOf(unit) * block_keys_ * head_.depth,
            .column = steps * kTile,
            .steps = steps,
            .columns = (KeysOf(unit) + 31) / 32 * 2,
            .c = scores_[unit & 1],
            .c_bytes = kScoreStride * 4};
  }

  TileProduct Values(int64_t unit) const {
    const int64_t tiles = kTile * head_.terms;  // of 32 keys
    return {.a = reinterpret_cast<const uint16_t*>(scores_[unit & 1]),
            .a_bytes = kScoreStride * 4,
            .b = head_.v + KeyBlockOf(unit) * (block_keys_ / 32) * tiles,
            .column = head_.padded_keys / 32 * tiles,
            .steps = (KeysOf(unit) + 31) / 32,
            .columns = (head_.d + 15) / 16,
            .path = kFp32 ? &kTwoTerms : &kOneTerm,
            .c = SumsOf(BlockOf(unit)),
            .c_bytes = head_.padded_d * 4,
            .add = KeyBlockOf(unit) > 0};
  }

  // Places a block's queries and decides whether their weights need a top.
  void TakeQueries(int64_t block) {
    __m512 longest = _mm512_setzero_ps(), squares[16];
    for (int64_t r = 0; r < kAmxRows; ++r) {
      const int64_t row = block * kAmxRows + r;
      squares[r % 16] = PlaceRow<Side::kQueries>(q_ + row * options_.q_stride, row < options_.rows, head_,
                                                 QueriesOf(block) + r * head_.depth);
      if (r % 16 != 15) continue;
      const auto add = [](__m512 x, __m512 y) { return _mm512_add_ps(x, y); };
      longest = _mm512_max_ps(longest, ReduceRows(squares, add));
    }
    const float bound = std::sqrt(_mm512_reduce_max_ps(longest)) * head_.longest * options_.scale * kLog2E;
    needs_top_[block] = !(bound < kSafeScore);
    std::fill_n(TopsOf(block), kAmxRows, 0.0f);
  }

  // A unit's scores to weights, in their place, and the rows' totals; between the rows the tiles go on. Whether
  // sums of the units before must be scaled.
  bool Weigh(int64_t unit, TileQueue* tiles) {
    const int64_t block = BlockOf(unit), keys = KeysOf(unit);
    const bool first = KeyBlockOf(unit) == 0;
    float* scores = scores_[unit & 1];
    float *totals = TotalsOf(block), *tops = TopsOf(block);
    const bool grew = needs_top_[block] && FindTops(scores, keys, first, totals, tops);
    // Shared out evenly over the gaps: in 1024ths, so that none divides.
    const int64_t share = (tiles->left() << 10) / (kAmxRows * (keys / 64 + 1));
    int64_t due = 0;
    const auto between = [&]() __attribute__((always_inline)) {
      due += share;
      tiles->Work(due >> 10);
      due &= 1023;
    };
    const float factor = options_.scale * kLog2E;
    for (int64_t r = 0; r < kAmxRows; ++r) {
      float* row = scores + r * kScoreStride;
      const __m512 before = first ? _mm512_setzero_ps() : _mm512_load_ps(totals + r * 16);
      const __m512 sum =
          kFp32 ? WeighSplitRow(row, keys, factor, tops[r], between)
                : WeighRow(row, keys, last_places_, factor, tops[r], reinterpret_cast<uint16_t*>(row), between);
      _mm512_store_ps(totals + r * 16, _mm512_add_ps(before, sum));
    }
    return grew;
  }

  // Each row's largest score so far; totals are scaled to it at once, sums when the tiles are done with them.
  bool FindTops(const float* scores, int64_t keys, bool first, float* totals, float* tops) {
    bool grew = false;
    for (int64_t r = 0; r < kAmxRows; r += 16) {
      __m512 rows[16];
      for (int i = 0; i < 16; ++i) rows[i] = Largest(scores + (r + i) * kScoreStride, keys);
      const __m512 before = _mm512_load_ps(tops + r);
      __m512 top = _mm512_mul_ps(ReduceRows(rows, [](__m512 a, __m512 b) { return _mm512_max_ps(a, b); }),
                                 _mm512_set1_ps(options_.scale * kLog2E));
      if (!first) top = _mm512_max_ps(top, before);
      _mm512_store_ps(tops + r, top);
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

  void ScaleSums(int64_t block) {
    float* sums = SumsOf(block);
    for (int64_t r = 0; r < kAmxRows; ++r) {
      for (int64_t c = 0; c < head_.padded_d; c += 16, sums += 16) {
        _mm512_store_ps(sums, _mm512_mul_ps(_mm512_load_ps(sums), _mm512_set1_ps(scales_[r])));
      }
    }
  }

  void Finish(int64_t block) {
    const int64_t rows = std::min(kAmxRows, options_.rows - block * kAmxRows);
    const float *totals = TotalsOf(block), *sums = SumsOf(block);
    T* y = y_ + block * kAmxRows * options_.y_stride;
    for (int64_t r = 0; r < rows; ++r, y += options_.y_stride) {
      const __m512 by = _mm512_set1_ps(1 / _mm512_reduce_add_ps(_mm512_load_ps(totals + r * 16)));
      for (int64_t c = 0; c < head_.d; c += 16) {
        const __m512 value = _mm512_mul_ps(_mm512_loadu_ps(sums + r * head_.padded_d + c), by);
        StoreRow(value, FirstOf16(head_.d - c), y + c);
      }
    }
  }

  const T* q_;
  const AmxHead& head_;
  const AmxOptions& options_;
  T* y_;
  const __mmask32 last_places_ = PlacesOf(head_.keys % 32);  // a block is whole 32s, or the last
  const int64_t block_keys_ = AmxBlockKeys(head_);
  const int64_t key_blocks_ = (head_.keys + block_keys_ - 1) / block_keys_;
  const int64_t blocks_ = (options_.rows + kAmxRows - 1) / kAmxRows;
  float* scores_[2];   // [kAmxRows, kScoreStride] of an odd and an even unit; weights lie at the rows' beginnings
  float* totals_;      // [kAmxMostRows, 16]: the weights' sums
  float* tops_;        // [kAmxMostRows]
  float* sums_;        // [kAmxMostRows, padded_d]
  uint16_t* queries_;  // [kAmxMostRows, depth]
  bool needs_top_[kAmxMostRows / kAmxRows] = {};
  alignas(64) float scales_[kAmxRows];
};

template <class T>
float PackHead(const T* k, const T* v, int64_t stride, const AmxHead& head, char* scratch) {
  PackValues(v, stride, head);
  return PackKeys(k, stride, head, reinterpret_cast<uint16_t*>(scratch));
}

}  // namespace

float AmxPackHead(const uint16_t* k, const uint16_t* v, int64_t stride, const AmxHead& head, char* scratch) {
  return PackHead(k, v, stride, head, scratch);
}
float AmxPackHead(const float* k, const float* v, int64_t stride, const AmxHead& head, char* scratch) {
  return PackHead(k, v, stride, head, scratch);
}

void AmxAttend(const uint16_t* q, const AmxHead& head, const AmxOptions& options, char* scratch, uint16_t* y) {
  Attention(q, head, options, scratch, y).Run();
}
void AmxAttend(const float* q, const AmxHead& head, const AmxOptions& options, char* scratch, float* y) {
  Attention(q, head, options, scratch, y).Run();
}

}  // namespace tiltshift::engine::simd
