// What follows a matrix product before it is stored, written once for GEMM and convolution; see
// epilogue.cuh for the code.
#pragma once

#include <cstdint>

namespace tiltshift::kernels {

// kSoftClamp: 3 tanh(x / 3).
enum class Activation : uint8_t { kNone, kSilu, kGelu, kQuickGelu, kRelu, kSoftClamp, kGeglu };

// y = f(product + bias + sample_bias[sample]) + residual, in fp32, rounded once; with
// residual_first y = f(product + bias + sample_bias[sample] + residual).
//
// With kGeglu columns come in pairs, value and gate (the weights' rows are interleaved so): y has n
// / 2 columns, value * gelu(gate), and bias is interleaved too.
struct Epilogue {
  const float* bias = nullptr;  // [n]
  // [samples] rows of n: one for all of a sample's rows, as the time embedding is.
  const float* sample_bias = nullptr;
  int64_t sample_bias_stride = 0;  // floats from a sample's to the next's, a multiple of 4; 0: n
  int rows_per_sample = 1;
  const void* residual = nullptr;  // [m, columns of y], of the inputs' type
  int64_t residual_stride = 0;
  bool residual_first = false;  // not with kGeglu
  Activation activation = Activation::kNone;
  bool float_output = false;  // y is fp32
};

inline bool Fits(const Epilogue& epilogue) {
  return !epilogue.residual_first || epilogue.activation != Activation::kGeglu;
}

}  // namespace tiltshift::kernels
