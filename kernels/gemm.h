// Matrix products with everything that follows them in the networks: linear layers and 1x1
// convolutions.
//
//   y[m, n] = epilogue(x[m, k] w[n, k]^T)
//
// x and y are rows of a tensor: strides in numbers let them be channels of a wider one. k and
// x_stride are multiples of 8; x and w are aligned to 16 bytes, and so are y and the residual where
// their stride is a multiple of 8 (else they are moved number by number). Sums are fp32 over k
// upwards, whatever m and n are, so a row's bits do not depend on how many rows there are (I4).
#pragma once

#include <cstdint>

#include "kernels/epilogue.h"
#include "kernels/numbers.h"
#include "kernels/runtime.h"
#include "kernels/split.h"
#include "kernels/tile_choice.h"

namespace tiltshift::kernels {

struct GemmShape {
  int m = 0, n = 0, k = 0;
};

template <class T>  // Bf16 or Fp16
struct GemmArguments {
  GemmShape shape;
  const T* x = nullptr;
  int64_t x_stride = 0;
  const T* w = nullptr;
  void* y = nullptr;  // T, or float with epilogue.float_output
  int64_t y_stride = 0;
  TileChoice tile = TileChoice::kAuto;
  Split split;
  Epilogue epilogue;
};

// Puts the product into the stream. InvalidValue: a shape or stride outside the limits.
template <class T>
cudaError_t Gemm(cudaStream_t stream, const GemmArguments<T>& arguments);

}  // namespace tiltshift::kernels
