// GroupNorm (Wu and He 2018) over NHWC pictures, with SiLU, and LayerNorm (Ba et al. 2016).
//
//   GroupNorm  y = f((x - mean) / sqrt(variance + eps) scale + shift), moments of a sample's group
//   of
//              channels at all positions
//   LayerNorm  the same with moments of a row's channels
//
// Moments are never taken as E[x^2] - E[x]^2: a thread takes those of the numbers that it holds in
// registers, about their own mean, and pairs of moments are merged (Chan, Golub, LeVeque 1983).
// What is merged with what depends on positions, channels and groups alone, never on the batch
// (I4).
#pragma once

#include <cstdint>

#include "kernels/numbers.h"
#include "kernels/runtime.h"

namespace tiltshift::kernels {

struct GroupNormShape {
  int batch = 1;
  int positions = 0;  // height x width
  int channels = 0;   // a multiple of 8 and of groups, at most 4096
  int groups = 1;
};

// Floats that GroupNorm needs in `moments`: a mean and a sum of squares for each sample, group and
// chunk of positions.
int64_t GroupNormMomentFloats(const GroupNormShape& shape);

template <class T>  // Bf16 or Fp16
struct GroupNormArguments {
  GroupNormShape shape;
  const T* x = nullptr;          // [batch, positions] rows of channels, aligned to 16 bytes
  int64_t x_stride = 0;          // numbers, a multiple of 8
  const float* scale = nullptr;  // [channels]
  const float* shift = nullptr;  // [channels]
  float eps = 1e-5f;
  bool silu = false;
  float* moments =
      nullptr;  // GroupNormMomentFloats(shape), aligned to 16 bytes; unused with `given`
  // [batch]: how many of a sample's blocks have come. Zeros before the first launch; every launch
  // leaves zeros. Not for two streams at once. Null: one launch more.
  uint32_t* arrivals = nullptr;
  // A row of 2 groups for each sample: of each group the mean, then of each the mean of the
  // squares.
  const float* given = nullptr;  // null: x's own are taken
  float* measured = nullptr;     // null: nobody wants x's own
  // [batch, 2, channels], aligned to 16 bytes: a factor and a summand for each channel, y = f(x
  // factor + summand). What reads x may apply them itself. Null: only `measured` is made.
  float* affine = nullptr;
  T* y = nullptr;  // null: only `affine` is made. May be x.
  int64_t y_stride = 0;
};

// One launch makes `affine`, a second y; the bits do not depend on who finished it. InvalidValue: a
// shape, stride or address outside the limits.
template <class T>
cudaError_t GroupNorm(cudaStream_t stream, const GroupNormArguments<T>& arguments);

template <class T>
struct LayerNormArguments {
  int64_t rows = 0;
  int channels = 0;              // a multiple of 8, at most 2048
  const T* x = nullptr;          // aligned to 16 bytes
  int64_t x_stride = 0;          // numbers, a multiple of 8
  const float* scale = nullptr;  // [channels]
  const float* shift = nullptr;  // [channels]
  float eps = 1e-5f;
  T* y = nullptr;
  int64_t y_stride = 0;
};

template <class T>
cudaError_t LayerNorm(cudaStream_t stream, const LayerNormArguments<T>& arguments);

}  // namespace tiltshift::kernels
