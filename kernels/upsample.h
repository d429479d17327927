// A picture enlarged to twice its sides, or one less: what a convolution's loads do by themselves
// (conv.h) where both sides double exactly.
//
//   y[b, oy, ox] = x[b, oy / 2, ox / 2]
#pragma once

#include <cstdint>

#include "kernels/numbers.h"
#include "kernels/runtime.h"

namespace tiltshift::kernels {

template <class T>  // Bf16 or Fp16
struct UpsampleArguments {
  int batch = 1;
  int height = 0, width = 0;          // of x
  int out_height = 0, out_width = 0;  // twice that, or one less
  int channels = 0;                   // a multiple of 8
  const T* x = nullptr;               // aligned to 16 bytes, as y is; strides multiples of 8
  int64_t x_stride = 0;
  T* y = nullptr;
  int64_t y_stride = 0;
};

// InvalidValue: a shape, stride or address outside the limits.
template <class T>
cudaError_t Upsample(cudaStream_t stream, const UpsampleArguments<T>& arguments);

}  // namespace tiltshift::kernels
