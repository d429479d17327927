#include "engine/cpu/simd/amx_product.h"

#include <immintrin.h>

#include <algorithm>

namespace tiltshift::engine::simd {
namespace {

constexpr int64_t kTile = 512;  // elements of a tile of weights
constexpr int64_t kTileBytes = 64;
constexpr int64_t kRunBytes = 768 << 10;  // of rows, beside a segment's panels in 2 MiB
constexpr int64_t kSegmentSteps = 128;    // 256 KiB of a panel
constexpr int64_t kBlockSums = 32 * 32;

// Tiles 0-3: sums; 4, 5: rows; 6, 7: weights.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};

  // For a single tile of fewer rows.
  constexpr explicit TileConfig(int count) {
    for (int tile : {0, 1, 4}) rows[tile] = static_cast<uint8_t>(count);
  }
};

constexpr int64_t kSumStride = 32;  // floats

// Asks for the next weights, a share at each step, while those before them are multiplied by
// `blocks` blocks.
class Ahead {
 public:
  Ahead() = default;
  Ahead(const uint16_t* from, int64_t steps, int64_t blocks)
      : at_(reinterpret_cast<const char*>(from)),
        end_(at_ + steps * kStepBytes),
        lines_((kStepBytes / kLine + blocks - 1) / blocks) {}
  void Advance() {
    if (at_ == end_) return;
    for (int64_t i = 0; i < lines_; ++i, at_ += kLine) _mm_prefetch(at_, _MM_HINT_T1);
    if (at_ > end_) at_ = end_;
  }

 private:
  static constexpr int64_t kLine = 64, kStepBytes = 2 * kTile * 2;
  const char* at_ = nullptr;
  const char* end_ = nullptr;
  int64_t lines_ = 0;
};

struct Steps {
  int64_t first = 0, last = 0;
};

__m512 Widen(__m256i bf16) { return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(bf16), 16); }

// A block's sums on their way to y: residual added, rounded, written.
struct Finish {
  const float* sums = nullptr;
  const int32_t* out = nullptr;
  const uint16_t* residual = nullptr;
  uint16_t* y = nullptr;
  int64_t residual_stride = 0, y_stride = 0;
  __mmask32 mask = 0;
  int64_t rows = 0;  // left

  void Some(int64_t count) {
    count = std::min(count, rows);
    rows -= count;
    residual != nullptr ? Write<true>(count) : Write<false>(count);
  }

 private:
  template <bool kResidual>
  __attribute__((always_inline)) void Write(int64_t count) {
    // In registers: through `this`, each store to y would have them read again.
    const float* const from = sums;
    const int32_t* const places = out;
    const uint16_t* const added = residual;
    uint16_t* const to = y;
    const int64_t added_stride = residual_stride, to_stride = y_stride;
    const __mmask32 columns = mask;
    for (int64_t r = 0; r < count; ++r) {
      const int64_t place = places[r];
      if (place < 0) continue;
      __m512 low = _mm512_load_ps(from + r * kSumStride),
             high = _mm512_load_ps(from + r * kSumStride + 16);
      if (kResidual) {
        const __m512i both = _mm512_maskz_loadu_epi16(columns, added + place * added_stride);
        low = _mm512_add_ps(low, Widen(_mm512_castsi512_si256(both)));
        high = _mm512_add_ps(high, Widen(_mm512_extracti64x4_epi64(both, 1)));
      }
      _mm512_mask_storeu_epi16(to + place * to_stride, columns,
                               (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
    sums += count * kSumStride;
    out += count;
  }
};

// Blocks of 16 * kRows rows by one panel. The vector units finish a block while the tile unit is
// busy with the next: a few rows after each step, for the processor looks ahead by some 500
// instructions, not by a block.
class Multiplier {
 public:
  explicit Multiplier(const AmxProduct& product) : product_(product) {}

  void StartPanel(int64_t panel) {
    column_ = panel * kPanelColumns;
    b_ = product_.b + panel * PanelElements(product_.step_count);
    const int64_t left = product_.columns - column_;
    mask_ = left >= 32 ? ~0u : (1u << left) - 1;
    for (int64_t i = 0; i < kPanelColumns; ++i) {
      bias_[i] = product_.bias != nullptr && i < left ? product_.bias[column_ + i] : 0;
    }
  }

  // `kept`: where the sums of the steps before lie, and those of these steps go but for the last.
  template <int kRows>
  void Block(int64_t tile, int64_t rows, const Steps& part, float* kept, Ahead* ahead) {
    const uint16_t* a0 = product_.a + product_.tiles[tile];
    const uint16_t* a1 = kRows == 2 ? product_.a + product_.tiles[tile + 1] : nullptr;
    const uint16_t* b = b_ + part.first * 2 * kTile;
    const int64_t stride = product_.a_stride * 2, steps = part.last - part.first;
    const int64_t rows_a_step = (finish_.rows + steps - 1) / steps;
    part.first == 0 ? StartSums<kRows>() : LoadSums<kRows>(kept);
    for (int64_t s = part.first; s < part.last; ++s, b += 2 * kTile) {
      ahead->Advance();
      _tile_loadd(4, a0 + product_.steps[s], stride);
      _tile_loadd(6, b, kTileBytes);
      _tile_loadd(7, b + kTile, kTileBytes);
      if (kRows == 2) _tile_loadd(5, a1 + product_.steps[s], stride);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      if (kRows == 2) _tile_dpbf16ps(2, 5, 6);
      if (kRows == 2) _tile_dpbf16ps(3, 5, 7);
      finish_.Some(rows_a_step);
    }
    if (part.last < product_.step_count) return StoreSums<kRows>(kept);
    StoreSums<kRows>(sums_);
    finish_ = {
        .sums = sums_,
        .out = product_.out + 16 * tile,
        .residual = product_.residual != nullptr ? product_.residual + column_ : nullptr,
        .y = product_.y + column_,
        .residual_stride = product_.residual_stride,
        .y_stride = product_.y_stride,
        .mask = mask_,
        .rows = rows,
    };
  }
  void Flush() { finish_.Some(finish_.rows); }

 private:
  static constexpr int64_t kSumBytes = kSumStride * sizeof(float);

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
  int64_t column_ = 0;
  const uint16_t* b_ = nullptr;
  __mmask32 mask_ = 0;
  Finish finish_;
  alignas(64) float bias_[kPanelColumns];
  alignas(64) float sums_[32 * kSumStride];
};

int64_t RunTiles(const AmxProduct& product) {
  return std::max<int64_t>(4, kRunBytes / (16 * product.row_bytes) / 2 * 2);
}
int64_t SegmentSteps(const AmxProduct& product) {
  const int64_t segments = (product.step_count + kSegmentSteps - 1) / kSegmentSteps;
  return (product.step_count + segments - 1) / segments;
}

}  // namespace

int64_t AmxSumFloats(const AmxProduct& product) {
  const int64_t tiles = std::min(product.tile_count, RunTiles(product) + 3);
  return product.step_count > kSegmentSteps ? (tiles + 1) / 2 * kBlockSums : 0;
}

void AmxMultiply(const AmxProduct& product, const AmxPart& part) {
  const TileConfig whole(16), last(product.last_rows);
  const int64_t elements = PanelElements(product.step_count);
  const int64_t whole_tiles = product.tile_count - (product.last_rows < 16);
  const int64_t run = RunTiles(product), segment = SegmentSteps(product);
  const uint16_t* const first_weights = product.b + part.first_panel * elements;
  const uint16_t* const end_of_weights = product.b + part.last_panel * elements;
  Multiplier multiplier(product);
  _tile_loadconfig(&whole);
  for (int64_t first = part.first_tile, end; first < part.last_tile; first = end) {
    end = part.last_tile - first < run + 3 ? part.last_tile : first + run;
    const int64_t whole_end = std::min(end, whole_tiles);
    for (int64_t panel = part.first_panel; panel < part.last_panel; ++panel) {
      multiplier.StartPanel(panel);
      for (Steps steps; steps.first < product.step_count; steps.first = steps.last) {
        steps.last = std::min(steps.first + segment, product.step_count);
        const uint16_t* next = product.b + panel * elements + PanelElements(steps.last);
        if (next == end_of_weights) next = first_weights;
        Ahead ahead(next, segment, (end - first + 1) / 2);
        float* sums = part.sums;
        int64_t tile = first;
        for (; tile + 2 <= whole_end; tile += 2, sums += kBlockSums) {
          multiplier.Block<2>(tile, 32, steps, sums, &ahead);
        }
        if (tile < whole_end) multiplier.Block<1>(tile++, 16, steps, sums, &ahead);
        if (tile < end) {
          _tile_loadconfig(&last);
          multiplier.Block<1>(tile, product.last_rows, steps, sums + kBlockSums / 2, &ahead);
          _tile_loadconfig(&whole);
        }
      }
    }
  }
  multiplier.Flush();
  _tile_release();
}

}  // namespace tiltshift::engine::simd
