// LayerNorm: see norm.h.
//
// A warp a row, which it holds in registers: 8 channels a lane and 256 of the row. So x is read
// once and y written once, 4 bytes a channel, and the moments are taken in two passes over
// registers. Bound by memory. 32 to 92 registers (sm_90), growing with the channels; no shared
// memory. Errors: see testing/norm_case.cc, the reference. Time (H200): 4.6 us of 8192 rows of 320,
// 2.3 TB/s.
#include <cmath>

#include "kernels/launch.h"
#include "kernels/norm.h"
#include "kernels/vector.cuh"

namespace tiltshift::kernels {
namespace {

constexpr int kWarps = 4;
constexpr int kLaneChannels = 32 * kChunk;  // of one vector a lane
constexpr int kMostVectors = 8;

template <class T, int kVectors>
__global__ void __launch_bounds__(32 * kWarps) LayerNormKernel(LayerNormArguments<T> p) {
  const int64_t row = int64_t{BlockIndex().x} * kWarps + Warp();
  if (row >= p.rows) return;
  const GlobalPtr<const T> x = GlobalPtr<const T>(p.x) + row * p.x_stride;
  Words4 words[kVectors];
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const int channel = i * kLaneChannels + Lane() * kChunk;
    words[i] = channel < p.channels ? Load<Words4>(x + channel) : Words4{};
    float value[kChunk];
    Unpack<T>(words[i], value);
#pragma unroll
    for (float v : value) sum += v;
  }
  const float channels = static_cast<float>(p.channels);
  const float mean = SumOfWarp(sum) / channels;
  float about = 0;
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const bool exists = i * kLaneChannels + Lane() * kChunk < p.channels;
    float value[kChunk];
    Unpack<T>(words[i], value);
#pragma unroll
    for (float v : value) about += exists ? (v - mean) * (v - mean) : 0.0f;
  }
  const float inverse = 1.0f / sqrtf(SumOfWarp(about) / channels + p.eps);
  const GlobalPtr<T> y = GlobalPtr(p.y) + row * p.y_stride;
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const int channel = i * kLaneChannels + Lane() * kChunk;
    if (channel >= p.channels) break;
    float value[kChunk], scale[kChunk], shift[kChunk];
    Unpack<T>(words[i], value);
    LoadFloats(GlobalPtr(p.scale) + channel, scale);
    LoadFloats(GlobalPtr(p.shift) + channel, shift);
#pragma unroll
    for (int c = 0; c < kChunk; ++c) value[c] = (value[c] - mean) * inverse * scale[c] + shift[c];
    Store(y + channel, Pack<T>(value));
  }
}

template <class T, int kVectors>
cudaError_t LaunchVectors(cudaStream_t stream, const LayerNormArguments<T>& p) {
  if constexpr (kVectors > kMostVectors) {
    return cudaErrorInvalidValue;
  } else {
    if (p.channels > kVectors * kLaneChannels) return LaunchVectors<T, kVectors + 1>(stream, p);
    const auto blocks = static_cast<unsigned>((p.rows + kWarps - 1) / kWarps);
    return Launch<&LayerNormKernel<T, kVectors>>(stream, {.grid = {blocks}, .block = {32 * kWarps}},
                                                 p);
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
