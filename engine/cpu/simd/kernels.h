// The CPU backend's own kernels: what oneDNN does not have, or has only unfused.
//
// kernels.inc is compiled once for each instruction set (kernels_avx512.cc and so on are one line each), so
// that a build for any machine runs at full speed where it can; the table is chosen when the program starts.
// Nothing here allocates, makes threads, or reads anything but its arguments, and every reduction has an order
// that follows from the shapes alone (I4). Channels need no alignment.
//
// Each table is for one element type T of activations: bf16 (as uint16_t) or float. Arithmetic is fp32 in
// both; with bf16, exp and 1/x are approximated to 2^-12, below a bf16's own rounding of 2^-9.
#pragma once

#include <cstdint>

namespace tiltshift::engine::simd {

enum class Function : uint8_t { kNone, kSilu, kGelu, kQuickGelu, kRelu, kSoftClamp };

// A run of rows: `rows` times `channels` elements, the next row `stride` elements on.
struct Rows {
  int64_t rows = 0;
  int64_t channels = 0;
  int64_t stride = 0;
};

// Where rows are put: channel c of row r at r * row + c / 32 * plane + c % 32.
struct Planes {
  int64_t row = 0;
  int64_t plane = 32;
};

// One head's keys and values as floats, packed for AttendRows: keys transposed block by block (attend.inc), values
// [keys, padded_d]; what is padded is zero.
struct PackedHead {
  int64_t keys = 0, padded_keys = 0;
  int64_t d = 0, padded_d = 0;
  float* k = nullptr;
  float* v = nullptr;
};

struct AttendOptions {
  int64_t rows = 0;  // at most kAttendRows
  int64_t q_stride = 0, y_stride = 0;
  float scale = 1;
  int64_t first_row = -1;  // causal where >= 0: row r sees keys 0..first_row + r
};
inline constexpr int64_t kAttendRows = 8;

struct Kernels {
  int lanes;  // floats a vector: what padding rounds up to

  // sums[c] and squares[c] over the rows.
  void (*moments)(const void* x, const Rows& shape, float* sums, float* squares);
  // y = f(x * scale[c] + shift[c]).
  void (*scale_shift)(const void* x, const Rows& shape, const float* scale, const float* shift, Function f,
                      void* y, const Planes& places);
  // Each row minus its mean over its deviation, then scale and shift; y is packed.
  void (*layer_norm)(const void* x, const Rows& shape, const float* scale, const float* shift, float eps,
                     void* y);
  // y [rows, channels] = first half * gelu(second half) of x [rows, 2 * channels].
  void (*geglu)(const void* x, const Rows& y_shape, void* y);
  // y = f(x) over `count` elements.
  void (*map)(const void* x, int64_t count, Function f, void* y);
  void (*from_float)(const float* x, int64_t count, void* y);
  void (*to_float)(const void* x, int64_t count, float* y);
  // k and v: the head's first channel, rows `stride` apart.
  void (*pack_head)(const void* k, const void* v, int64_t stride, const PackedHead& head);
  // y = softmax(scale * q k^T) v; scratch: kAttendRows * (padded_keys + padded_d) floats.
  void (*attend_rows)(const void* q, const PackedHead& head, const AttendOptions& options, float* scratch,
                      void* y);
};

enum class Isa : uint8_t { kBaseline, kAvx2, kAvx512 };

const Kernels& FloatKernels(Isa isa);
// For processors with AVX512-BF16 only: without it the engine computes in fp32.
const Kernels& Bf16Kernels();

}  // namespace tiltshift::engine::simd
