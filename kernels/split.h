// Sums over k in several shares, for products with too few tiles to fill a card.
//
// Share s of `count` adds its part of k, upwards; then the shares are added, upwards, and the
// epilogue follows. The bits depend on `count`: it must be the layer's, the same for every batch
// (I4). ChooseSplit gives one.
#pragma once

#include <cstdint>

#include "kernels/epilogue.h"
#include "kernels/runtime.h"

namespace tiltshift::kernels {

struct Split {
  int count = 1;              // more than 1 needs k (or a convolution's channels) a multiple of 64
  float* partials = nullptr;  // [count, m, n]
};

// Shares are cut at multiples of this.
inline constexpr int kSplitUnit = 64;

// The count for a layer: `rows` of y for one sample, `channels` of x, k of them over all taps.
int ChooseSplit(int64_t rows, int64_t n, int64_t channels, int64_t k);

struct SumSharesArguments {
  Split split;
  int m = 0, n = 0;
  void* y = nullptr;
  int64_t y_stride = 0;
  Epilogue epilogue;
};

// y = epilogue(the sum of all shares).
template <class T>
cudaError_t SumShares(cudaStream_t stream, const SumSharesArguments& arguments);

}  // namespace tiltshift::kernels
