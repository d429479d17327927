// Convolutions over NHWC pictures as implicit products: no patch is ever written to memory.
//
//   y[b, oy, ox, n] = epilogue(sum over r, s, c of prologue(x)[b, oy stride - pad + r, ox stride -
//   pad + s, c] w[n, r, s, c])
//
// Sides of y times the stride are at most 16384, a picture of x less than 2^30 numbers.
//
// Positions outside x count as zeros, behind the prologue. With `upsample` x is first enlarged to
// twice its height and width, each position four times; the loads do that. Sums are fp32, over taps
// (r, s) and within a tap over c, upwards, whatever the batch is (I4).
#pragma once

#include <cstdint>

#include "kernels/epilogue.h"
#include "kernels/numbers.h"
#include "kernels/prologue.h"
#include "kernels/runtime.h"
#include "kernels/split.h"
#include "kernels/tile_choice.h"

namespace tiltshift::kernels {

struct ConvShape {
  int batch = 1;
  int height = 0, width = 0, channels = 0;  // of x; channels a multiple of 8
  int out_height = 0, out_width = 0, out_channels = 0;
  int kernel = 3;  // 1 or 3
  int stride = 1;
  int pad =
      1;  // above and to the left; below and to the right is what out_height and out_width need
  bool upsample = false;
};

template <class T>  // Bf16 or Fp16
struct ConvArguments {
  ConvShape shape;
  const T* x = nullptr;  // [batch, height, width, channels], aligned to 16 bytes
  int64_t x_stride = 0;  // numbers from a position to the next, a multiple of 8
  Prologue prologue;
  const T* w = nullptr;  // [out_channels, kernel, kernel, channels], aligned to 16 bytes
  void* y = nullptr;     // [batch, out_height, out_width, out_channels], T, or float with
                         // epilogue.float_output
  int64_t y_stride = 0;
  TileChoice tile = TileChoice::kAuto;
  Split split;
  Epilogue epilogue;  // a row is a position of y; see GEMM's (gemm.h) for alignment
};

// Whether a prologue takes less time than GroupNorm's last launch before a convolution without one
// would: the bits are the same either way, so it may go by the batch. By computation, not measured
// (prologue.cc).
bool PrologueGains(const ConvShape& shape, bool silu);

// Puts the convolution into the stream. InvalidValue: a shape or stride outside the limits.
template <class T>
cudaError_t Conv(cudaStream_t stream, const ConvArguments<T>& arguments);

}  // namespace tiltshift::kernels
