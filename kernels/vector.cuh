// Eight numbers at once, as the norms and the element-wise kernels move them, and sums over a warp.
#pragma once

#include "kernels/device.h"

namespace tiltshift::kernels {

template <class T>
__device__ __forceinline__ void Unpack(const Words4& words, float (&value)[kChunk]) {
#pragma unroll
  for (int i = 0; i < kChunk / 2; ++i) {
    value[2 * i] = LowOf<T>(words.word[i]);
    value[2 * i + 1] = HighOf<T>(words.word[i]);
  }
}

template <class T>
__device__ __forceinline__ Words4 Pack(const float (&value)[kChunk]) {
  Words4 words;
#pragma unroll
  for (int i = 0; i < kChunk / 2; ++i) {
    words.word[i] = PackPair<T>(value[2 * i], value[2 * i + 1]);
  }
  return words;
}

__device__ __forceinline__ void LoadFloats(GlobalPtr<const float> from, float (&value)[kChunk]) {
#pragma unroll
  for (int half = 0; half < kChunk; half += 4) {
    const Floats4 four = Load<Floats4>(from + half);
#pragma unroll
    for (int i = 0; i < 4; ++i) value[half + i] = four.value[i];
  }
}

// The same in every lane.
__device__ __forceinline__ float SumOfWarp(float value) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) value += ShuffleXor(value, mask);
  return value;
}

}  // namespace tiltshift::kernels
