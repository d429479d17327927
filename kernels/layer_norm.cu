// LayerNorm: see norm.h.
//
// A warp takes a few rows, which it holds in registers: 8 channels a lane and 256 of each row. So x
// is read once and y written once, 4 bytes a channel; scale and shift, 8 bytes a channel, are read
// once for all of a warp's rows; the moments are taken in two passes over registers. Bound by
// memory. No shared memory. Errors: see testing/norm_case.cc, the reference. Time (H200), with one
// row a warp: 4.6 us of 8192 rows of 320, 2.3 TB/s. With several: unmeasured.
#include <cmath>

#include "kernels/launch.h"
#include "kernels/norm.h"
#include "kernels/vector.cuh"

namespace tiltshift::kernels {
namespace {

constexpr int kWarps = 4;
constexpr int kLaneChannels = 32 * kChunk;  // of one vector a lane
constexpr int kMostVectors = 8;
// Of a warp: x takes up to 40 registers of a lane.
template <int kVectors>
constexpr int kRowsFor = kVectors <= 2   ? 4
                         : kVectors <= 5 ? 2
                                         : 1;

template <class T, int kVectors>
__global__ void __launch_bounds__(32 * kWarps) LayerNormKernel(LayerNormArguments<T> p) {
  constexpr int kRows = kRowsFor<kVectors>;
  const int64_t first = (int64_t{BlockIndex().x} * kWarps + Warp()) * kRows;
  if (first >= p.rows) return;
  const auto channel_of = [](int i) { return i * kLaneChannels + Lane() * kChunk; };
  Words4 words[kRows][kVectors];
#pragma unroll
  for (int row = 0; row < kRows; ++row) {
    const GlobalPtr<const T> x = GlobalPtr<const T>(p.x) + (first + row) * p.x_stride;
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const bool exists = first + row < p.rows && channel_of(i) < p.channels;
      words[row][i] = exists ? Load<Words4>(x + channel_of(i)) : Words4{};
    }
  }
  const float share = Reciprocal(static_cast<float>(p.channels));
  float mean[kRows], inverse[kRows];
#pragma unroll
  for (int row = 0; row < kRows; ++row) {
    float sum = 0, value[kChunk];
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      Unpack<T>(words[row][i], value);
#pragma unroll
      for (float v : value) sum += v;
    }
    mean[row] = SumOfWarp(sum) * share;
    float about = 0;
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      Unpack<T>(words[row][i], value);
      const bool exists = channel_of(i) < p.channels;
#pragma unroll
      for (float v : value) about += exists ? (v - mean[row]) * (v - mean[row]) : 0.0f;
    }
    inverse[row] = ReciprocalRoot(SumOfWarp(about) * share + p.eps);
  }
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    if (channel_of(i) >= p.channels) break;
    float value[kChunk], scale[kChunk], shift[kChunk];
    LoadFloats(GlobalPtr(p.scale) + channel_of(i), scale);
    LoadFloats(GlobalPtr(p.shift) + channel_of(i), shift);
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      if (first + row >= p.rows) break;
      Unpack<T>(words[row][i], value);
#pragma unroll
      for (int c = 0; c < kChunk; ++c) {
        value[c] = (value[c] - mean[row]) * inverse[row] * scale[c] + shift[c];
      }
      Store(GlobalPtr(p.y) + (first + row) * p.y_stride + channel_of(i), Pack<T>(value));
    }
  }
}

template <class T, int kVectors>
cudaError_t LaunchVectors(cudaStream_t stream, const LayerNormArguments<T>& p) {
  if constexpr (kVectors > kMostVectors) {
    return cudaErrorInvalidValue;
  } else {
    if (p.channels > kVectors * kLaneChannels) return LaunchVectors<T, kVectors + 1>(stream, p);
    constexpr int kBlockRows = kWarps * kRowsFor<kVectors>;
    const auto blocks = static_cast<unsigned>((p.rows + kBlockRows - 1) / kBlockRows);
    const LaunchShape shape = {.grid = {blocks}, .block = {32 * kWarps}};
    return Launch<&LayerNormKernel<T, kVectors>>(stream, shape, p);
  }
}

template <class T>
bool Fits(const LayerNormArguments<T>& p) {
  const auto aligned = [](const void* at, int64_t stride) {
    return reinterpret_cast<uintptr_t>(at) % kChunkBytes == 0 && stride % kChunk == 0;
  };
  return p.rows > 0 && p.channels > 0 && p.channels % kChunk == 0 && aligned(p.x, p.x_stride) &&
         aligned(p.y, p.y_stride) && aligned(p.scale, 0) && aligned(p.shift, 0);
}

}  // namespace

template <class T>
cudaError_t LayerNorm(cudaStream_t stream, const LayerNormArguments<T>& p) {
  return Fits(p) ? LaunchVectors<T, 1>(stream, p) : cudaErrorInvalidValue;
}

template cudaError_t LayerNorm(cudaStream_t, const LayerNormArguments<Bf16>&);
#ifndef TILTSHIFT_BF16_ONLY
template cudaError_t LayerNorm(cudaStream_t, const LayerNormArguments<Fp16>&);
#endif

}  // namespace tiltshift::kernels
