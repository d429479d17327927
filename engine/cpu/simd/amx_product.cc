#include "engine/cpu/simd/amx_product.h"

#include <immintrin.h>

#include <algorithm>

#include "engine/cpu/simd/amx_config.h"
#include "engine/cpu/simd/amx_finish.h"

namespace tiltshift::engine::simd {
namespace {

constexpr int64_t kTileBytes = 64;
constexpr int64_t kRunBytes = 768 << 10;  // of rows, beside a segment's panels in 2 MiB
constexpr int64_t kSegmentTiles = 256;    // of a panel: 256 KiB
constexpr int64_t kBlockSums = 32 * 32;

// Asks for the next weights, a share at each step, while those before them are multiplied by
// `blocks` blocks.
class Ahead {
 public:
  Ahead() = default;
  Ahead(const uint16_t* from, int64_t steps, int64_t terms, int64_t blocks)
      : at_(reinterpret_cast<const char*>(from)),
        end_(at_ + steps * terms * kTermBytes),
        lines_((terms * kTermBytes / kLine + blocks - 1) / blocks) {}
  void Advance() {
    if (at_ == end_) return;
    for (int64_t i = 0; i < lines_; ++i, at_ += kLine) _mm_prefetch(at_, _MM_HINT_T1);
    if (at_ > end_) at_ = end_;
  }

 private:
  static constexpr int64_t kLine = 64, kTermBytes = 2 * kTile * 2;
  const char* at_ = nullptr;
  const char* end_ = nullptr;
  int64_t lines_ = 0;
};

struct Steps {
  int64_t first = 0, last = 0;
};

// Blocks of 16 * kRows rows by one panel. The vector units finish a block while the tile unit is
// busy with the next: a few rows after each step, for the processor looks ahead by some 500
// instructions, not by a block. kTerms: of the weights where T is float.
template <class T, int kTerms>
class Multiplier {
 public:
  explicit Multiplier(const AmxProduct& product) : product_(product) {}

  void StartPanel(int64_t panel) {
    const int64_t half = product_.columns / 2, width = kPairs() ? 16 : 32;
    column_ = panel * width;
    b_ = product_.b + panel * product_.layout.elements(product_.step_count);
    const int64_t left = product_.columns - column_;
    mask_ = left >= 32 ? ~0u : (1u << left) - 1;
    for (int64_t i = 0; i < kPanelColumns; ++i) {
      const int64_t column = column_ + i + (kPairs() && i >= 16 ? half - 16 : 0);
      bias_[i] = product_.bias != nullptr && column < product_.columns ? product_.bias[column] : 0;
    }
  }

  // `kept`: where the sums of the steps before lie, and those of these steps go but for the last.
  template <int kRows>
  void Block(int64_t tile, int64_t rows, const Steps& part, float* kept, Ahead* ahead) {
    const uint16_t* a0 = product_.a + product_.tiles[tile];
    const uint16_t* a1 = kRows == 2 ? product_.a + product_.tiles[tile + 1] : nullptr;
    const uint16_t* b = b_ + part.first * kStepElements;
    const int64_t steps = part.last - part.first;
    const int64_t rows_a_step = (finish_.rows + steps - 1) / steps;
    part.first == 0 ? StartSums<kRows>() : LoadSums<kRows>(kept);
    for (int64_t s = part.first; s < part.last; ++s, b += kStepElements) {
      ahead->Advance();
      const int64_t at = product_.steps[s];
      sizeof(T) == 4 ? SplitStep<kRows>(a0 + at, a1 + at, b) : Step<kRows>(a0 + at, a1 + at, b);
      finish_.Some(rows_a_step);
    }
    if (part.last < product_.step_count) return StoreSums<kRows>(kept);
    StoreSums<kRows>(sums_);
    const T* residual = static_cast<const T*>(product_.residual);
    finish_ = {
        .sums = sums_,
        .out = product_.out + 16 * tile,
        .residual = residual != nullptr ? residual + column_ : nullptr,
        .y = static_cast<T*>(product_.y) + column_,
        .residual_stride = product_.residual_stride,
        .y_stride = product_.y_stride,
        .mask = mask_,
        .pairs = kPairs(),
        .rows = rows,
    };
  }
  void Flush() { finish_.Some(finish_.rows); }

 private:
  static constexpr int64_t kSumBytes = kSumStride * sizeof(float);
  static constexpr int64_t kStepElements = kTerms * 2 * kTile;

  bool kPairs() const { return product_.layout.pairs; }

  template <int kRows>
  __attribute__((always_inline)) void Step(const uint16_t* a0, const uint16_t* a1, const uint16_t* b) {
    LoadWeights(b);
    Upper(a0);
    if (kRows == 2) Lower(a1);
    FreeWeights();
  }
  // Terms i of a and j of b where i + j <= 1; the tiles that are there serve twice where they can.
  template <int kRows>
  __attribute__((always_inline)) void SplitStep(const uint16_t* a0, const uint16_t* a1, const uint16_t* b) {
    const int64_t small = product_.a_term;
    LoadWeights(b);
    if (kRows == 2) Lower(a1 + small);
    Upper(a0 + small);
    if (kRows == 2) Lower(a1);
    LoadRows(a0);
    MultiplyUpper();
    FreeWeights();
    if (kTerms == 2) {
      LoadWeights(b + 2 * kTile);
      MultiplyUpper();
      if (kRows == 2) Lower(a1);
      FreeWeights();
    }
    _tile_zero(4);
  }
  __attribute__((always_inline)) void Upper(const uint16_t* a) {
    LoadRows(a);
    MultiplyUpper();
    _tile_zero(4);
  }
  __attribute__((always_inline)) void Lower(const uint16_t* a) {
    LoadRows(a);
    _tile_dpbf16ps(2, 4, 6);
    _tile_dpbf16ps(3, 4, 7);
    _tile_zero(4);
  }
  __attribute__((always_inline)) void LoadRows(const uint16_t* a) {
    _tile_loadd(4, a, product_.a_stride * 2);
  }
  static __attribute__((always_inline)) void MultiplyUpper() {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
  }
  static __attribute__((always_inline)) void LoadWeights(const uint16_t* b) {
    _tile_loadd(6, b, kTileBytes);
    _tile_loadd(7, b + kTile, kTileBytes);
  }
  static __attribute__((always_inline)) void FreeWeights() {
    _tile_zero(6);
    _tile_zero(7);
  }

  template <int kRows>
  void StartSums() {
    _tile_loadd(0, bias_, 0);  // all rows from one
    _tile_loadd(1, bias_ + 16, 0);
    if (kRows == 2) _tile_loadd(2, bias_, 0);
    if (kRows == 2) _tile_loadd(3, bias_ + 16, 0);
  }
  template <int kRows>
  static void LoadSums(const float* from) {
    _tile_loadd(0, from, kSumBytes);
    _tile_loadd(1, from + 16, kSumBytes);
    if (kRows == 2) _tile_loadd(2, from + 16 * kSumStride, kSumBytes);
    if (kRows == 2) _tile_loadd(3, from + 16 * kSumStride + 16, kSumBytes);
  }
  template <int kRows>
  static void StoreSums(float* to) {
    _tile_stored(0, to, kSumBytes);
    _tile_stored(1, to + 16, kSumBytes);
    if (kRows == 2) _tile_stored(2, to + 16 * kSumStride, kSumBytes);
    if (kRows == 2) _tile_stored(3, to + 16 * kSumStride + 16, kSumBytes);
  }

  const AmxProduct& product_;
  int64_t column_ = 0;  // of y
  const uint16_t* b_ = nullptr;
  __mmask32 mask_ = 0;
  Finish<T> finish_;
  alignas(64) float bias_[kPanelColumns];
  alignas(64) float sums_[32 * kSumStride];
};

int64_t MostSegmentSteps(const AmxProduct& product) { return kSegmentTiles / 2 / product.layout.terms; }
int64_t SegmentSteps(const AmxProduct& product) {
  const int64_t most = MostSegmentSteps(product);
  const int64_t segments = (product.step_count + most - 1) / most;
  return (product.step_count + segments - 1) / segments;
}

template <class T, int kTerms>
void MultiplyPart(const AmxProduct& product, const AmxPart& part) {
  const TileConfig whole(16), last(product.last_rows);
  const int64_t elements = product.layout.elements(product.step_count);
  const int64_t whole_tiles = product.tile_count - (product.last_rows < 16);
  const int64_t run = AmxRunTiles(product), segment = SegmentSteps(product);
  const uint16_t* const first_weights = product.b + part.first_panel * elements;
  const uint16_t* const end_of_weights = product.b + part.last_panel * elements;
  Multiplier<T, kTerms> multiplier(product);
  _tile_loadconfig(&whole);
  for (int64_t first = part.first_tile, end; first < part.last_tile; first = end) {
    end = part.last_tile - first < run + 3 ? part.last_tile : first + run;
    const int64_t whole_end = std::min(end, whole_tiles);
    for (int64_t panel = part.first_panel; panel < part.last_panel; ++panel) {
      multiplier.StartPanel(panel);
      for (Steps steps; steps.first < product.step_count; steps.first = steps.last) {
        steps.last = std::min(steps.first + segment, product.step_count);
        const uint16_t* next = product.b + panel * elements + product.layout.elements(steps.last);
        if (next == end_of_weights) next = first_weights;
        Ahead ahead(next, segment, kTerms, (end - first + 1) / 2);
        float* sums = part.sums;
        int64_t tile = first;
        for (; tile + 2 <= whole_end; tile += 2, sums += kBlockSums) {
          multiplier.template Block<2>(tile, 32, steps, sums, &ahead);
        }
        if (tile < whole_end) multiplier.template Block<1>(tile++, 16, steps, sums, &ahead);
        if (tile < end) {
          _tile_loadconfig(&last);
          multiplier.template Block<1>(tile, product.last_rows, steps, sums + kBlockSums / 2, &ahead);
          _tile_loadconfig(&whole);
        }
      }
    }
  }
  multiplier.Flush();
  _tile_release();
}

}  // namespace

int64_t AmxRunTiles(const AmxProduct& product) {
  return std::max<int64_t>(4, kRunBytes / (16 * product.row_bytes) / 2 * 2);
}

int64_t AmxSumFloats(const AmxProduct& product) {
  const int64_t tiles = std::min(product.tile_count, AmxRunTiles(product) + 3);
  return product.step_count > MostSegmentSteps(product) ? (tiles + 1) / 2 * kBlockSums : 0;
}

void AmxMultiply(const AmxProduct& product, const AmxPart& part) {
  if (!product.fp32) return MultiplyPart<uint16_t, 1>(product, part);
  product.layout.terms == 1 ? MultiplyPart<float, 1>(product, part) : MultiplyPart<float, 2>(product, part);
}

void AmxSplit(const float* x, int64_t count, int64_t term, uint16_t* out) {
  for (int64_t i = 0; i < count; i += 16) {
    const auto mask = static_cast<__mmask16>(count - i >= 16 ? 0xffff : (1 << (count - i)) - 1);
    __m512 left = _mm512_maskz_loadu_ps(mask, x + i);
    for (int64_t t = 0; t < kSplitTerms; ++t) {
      const auto rounded = (__m256i)_mm512_cvtneps_pbh(left);
      _mm256_mask_storeu_epi16(out + t * term + i, mask, rounded);
      left = _mm512_sub_ps(left, Widen(rounded));
    }
  }
}

}  // namespace tiltshift::engine::simd
