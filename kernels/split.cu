// y = epilogue(sum over shares): see split.h. Each thread adds eight columns of a row.
// Bytes: 4 m n count read once, and what the epilogue reads and writes. No reference of its own:
// GEMM's and convolution's tests go through it.
#include <algorithm>

#include "kernels/epilogue.cuh"
#include "kernels/launch.h"
#include "kernels/split.h"

namespace tiltshift::kernels {
namespace {

constexpr int kThreads = 128;

template <class T>
__global__ void __launch_bounds__(kThreads) SumSharesKernel(SumSharesArguments p) {
  constexpr int kColumns = RowFinisher<T>::kColumns;
  const int pieces = (p.n + kColumns - 1) / kColumns;  // of a row
  const int64_t piece = int64_t{BlockIndex().x} * kThreads + ThreadIndex().x;
  const int row = static_cast<int>(piece / pieces);
  const int column = static_cast<int>(piece % pieces) * kColumns;
  if (row >= p.m) return;

  float sum[kColumns] = {};
  const int64_t share = int64_t{p.m} * p.n;
  const GlobalPtr<const float> from =
      GlobalPtr<const float>(p.split.partials) + (int64_t{row} * p.n + column);
  if (p.n % kColumns == 0) {
    for (int s = 0; s < p.split.count; ++s) {
      const Floats4 low = Load<Floats4>(from + s * share),
                    high = Load<Floats4>(from + s * share + 4);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        sum[i] += low.value[i];
        sum[i + 4] += high.value[i];
      }
    }
  } else {
    for (int s = 0; s < p.split.count; ++s) {
#pragma unroll
      for (int i = 0; i < kColumns; ++i) {
        if (column + i < p.n) sum[i] += Load(from + s * share + i);
      }
    }
  }
  RowFinisher<T>(p.epilogue, {p.y, p.y_stride, p.m, p.n}, column)
      .template Finish<1>(row, 1, [&](int, float(&value)[kColumns]) {
#pragma unroll
        for (int i = 0; i < kColumns; ++i) value[i] = sum[i];
      });
}

}  // namespace

template <class T>
cudaError_t SumShares(cudaStream_t stream, const SumSharesArguments& p) {
  constexpr int64_t kColumns = RowFinisher<T>::kColumns;
  const int64_t threads = p.m * ((p.n + kColumns - 1) / kColumns);
  const LaunchShape shape = {.grid = {static_cast<unsigned>((threads + kThreads - 1) / kThreads)},
                             .block = {kThreads}};
  return Launch<&SumSharesKernel<T>>(stream, shape, p);
}

template cudaError_t SumShares<Bf16>(cudaStream_t, const SumSharesArguments&);
#ifndef TILTSHIFT_BF16_ONLY
template cudaError_t SumShares<Fp16>(cudaStream_t, const SumSharesArguments&);
#endif

}  // namespace tiltshift::kernels
