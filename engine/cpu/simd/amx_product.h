// Products of activations and weights on AMX tiles: linear layers, and convolutions as products
// whose left rows are picked from the picture ("implicit GEMM").
//
//   y[r, n] = sum over k of a[r, k] * b[k, n] + bias[n] + residual[r, n]
//
// In bf16, or in fp32 as a sum of products of bf16 (Henry, Tang and Heinecke 2019): a float is two
// of them, its rounding and what that leaves, which keep 16 of its 24 bits, and one where the weights
// lie in a bf16 file. The product of the two small terms is left out, so a product of floats is three
// of bf16. Both cost a product 2^-16 at most and at random, some 3.5e-6 in the mean square, and
// so much of a sum, whatever its length. Multiply-adds of floats reach 1/15 of the tiles' rate.
//
// Sums are fp32, over the k in ascending order in steps of 32, whatever rows or columns are
// computed together (I4). 32 rows by 32 columns are in flight: four tiles of sums, two of weights,
// and one that holds two of the left side by turns (amx_config.h), so that each loaded kilobyte
// serves two products of 16 x 16 x 32. A tile product takes 16 cycles; measured (3 GHz, 2 MiB of
// second level) a step of four gives
//   2,965 GFLOP/s with both sides in the first-level cache, 2,900 with one there and one in the
//   second, 2,180 with both in the second, 850 with one in the third.
// So a run of rows whose bytes half fill the second-level cache sees all panels before the next
// run does; a long sum is cut into segments of steps whose part of a panel stays near as well,
// with the sums of the run kept between them; and the next part of the panels is fetched meanwhile.
#pragma once

#include <compare>
#include <cstdint>

namespace tiltshift::engine::simd {

inline constexpr int64_t kPanelColumns = 32;
inline constexpr int64_t kStepDepth = 32;
inline constexpr int64_t kSplitTerms = 2;  // of a float, the large one first

// Weights as panels of 32 columns; a panel is, for each step of 32 k and each term, two tiles of
// [16 pairs of k][16 columns][2] elements. Columns past the last are zero.
struct PanelLayout {
  int terms = 1;
  // Columns are the first half's 16 by 16, each before the 16 that lie half of all columns on: what
  // a GEGLU multiplies is in one panel.
  bool pairs = false;

  constexpr int64_t elements(int64_t steps) const { return steps * terms * kStepDepth * kPanelColumns; }
  auto operator<=>(const PanelLayout&) const = default;
};
inline int64_t PanelsFor(int64_t columns) { return (columns + kPanelColumns - 1) / kPanelColumns; }

struct AmxProduct {
  // Left rows come in tiles of 16: row r of tile t at step s starts at a[tiles[t] + r * a_stride +
  // steps[s]], 32 elements. All of them must be readable, also where `out` says that nobody wants
  // the row.
  const uint16_t* a = nullptr;
  int64_t a_stride = 0;
  const int32_t* tiles = nullptr;
  int64_t tile_count = 0;
  const int32_t* steps = nullptr;
  int64_t step_count = 0;
  int last_rows = 16;  // rows of the last tile; the others have 16

  int64_t row_bytes = 0;  // what a further row adds to the bytes that are read

  // fp32: a has kSplitTerms terms, each `a_term` elements after the one before; residual and y are
  // floats. Else all are bf16, and layout.terms is 1.
  bool fp32 = false;
  int64_t a_term = 0;

  const uint16_t* b = nullptr;  // panels
  PanelLayout layout;
  int64_t columns = 0;

  const float* bias = nullptr;         // [columns] or null
  // With layout.pairs y has half the columns: value * gelu(gate), and there is no residual.
  const void* residual = nullptr;  // rows like y's, or null; may be y itself
  int64_t residual_stride = 0;
  void* y = nullptr;
  int64_t y_stride = 0;
  const int32_t* out = nullptr;  // [tile_count * 16]: the row of y, or -1
};

// Row tiles and panels of a product, both [first, last): what one thread computes.
struct AmxPart {
  int64_t first_tile = 0, last_tile = 0;
  int64_t first_panel = 0, last_panel = 0;
  float* sums = nullptr;  // AmxSumFloats(product) of the thread's own, aligned to 64
};
// Row tiles that see all panels together: their bytes half fill the second-level cache.
int64_t AmxRunTiles(const AmxProduct& product);
int64_t AmxSumFloats(const AmxProduct& product);
void AmxMultiply(const AmxProduct& product, const AmxPart& part);

// How a panel is packed. A row's 32 channels at each of `places` places of a filter, 1 or 9, as they
// lie: row[channel * places + place]. Term t of its channels at place p goes to the line
// lines[p][t][0] of [places][terms][32 rows][32 channels].
void AmxPackRow(const float* row, int64_t places, int terms, uint16_t* lines);
// The lines of a place, [terms][32 rows][32 channels], as a step of a panel.
void AmxPackStep(const uint16_t* lines, int terms, uint16_t* out);

// The terms of `count` floats, each `term` elements after the one before.
void AmxSplit(const float* x, int64_t count, int64_t term, uint16_t* out);

}  // namespace tiltshift::engine::simd
