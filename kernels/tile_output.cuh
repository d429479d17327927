// A block's tile of products, from registers through shared memory to y.
//
// mma.sync leaves two neighbouring columns in a lane; memory wants sixteen bytes. So each warp lays
// its products into its own piece of shared memory, in fp32, and takes them out again eight columns
// a lane, in a loop: the code stays within the instruction cache. The pieces lie over the main
// loop's stages, which are read to the end by then.
#pragma once

#include "kernels/device.h"
#include "kernels/epilogue.cuh"
#include "kernels/split.h"
#include "kernels/tile.cuh"

namespace tiltshift::kernels {

template <class T, class Tile>
class TileFinisher {
 public:
  static constexpr int kColumns = RowFinisher<T>::kColumns;  // a lane's
  static constexpr int kRowLanes = Tile::kWarpN / kColumns;  // lanes to a row
  static constexpr int kRowsAtOnce = 32 / kRowLanes;
  static constexpr int kBatch = 4;  // rows of a lane that are finished together
  static constexpr int kPitch = Tile::kPitch;
  static_assert(kRowLanes >= 4 && Tile::kWarpM % (kRowsAtOnce * kBatch) == 0);

  __device__ __forceinline__ TileFinisher()
      : piece_(Shared<float>(Warp() * Tile::kWarpM * kPitch * 4)) {}

  // `row`, `column`: of the block's first product.
  __device__ __forceinline__ void Run(const Products<T, Tile>& products, const Epilogue& epilogue,
                                      const Output& output, int row, int column) const {
#pragma unroll
    for (int m = 0; m < Tile::kTilesM; ++m) Put(products.c[m], 16 * m);
    SyncWarp();
    const int first_row = Lane() / kRowLanes;
    const int first_column = column + products.warp_n() + Lane() % kRowLanes * kColumns;
    if (first_column >= output.n) return;
    RowFinisher<T> finisher(epilogue, output, first_column);
#pragma unroll 1
    for (int r = first_row; r < Tile::kWarpM; r += kRowsAtOnce * kBatch) {
      finisher.template Finish<kBatch>(
          row + products.warp_m() + r, kRowsAtOnce,
          [&](int i, float(&value)[kColumns]) { Take(r + i * kRowsAtOnce, value); });
    }
  }

 private:
  __device__ __forceinline__ void Put(const float (&c)[Tile::kTilesN][4], int first_row) const {
    const SharedPtr<float> at = piece_ + ((first_row + Lane() / 4) * kPitch + Lane() % 4 * 2);
#pragma unroll
    for (int n = 0; n < Tile::kTilesN; ++n) {
      Store(at + 8 * n, Float2{c[n][0], c[n][1]});
      Store(at + (8 * kPitch + 8 * n), Float2{c[n][2], c[n][3]});
    }
  }

  // Eight floats in two loads. Lanes 4 to 7 of a pass begin with their second half, so that the
  // eight lanes of a pass touch all banks.
  __device__ __forceinline__ void Take(int row, float (&value)[kColumns]) const {
    const bool swap = Lane() / 4 % 2 != 0;
    const SharedPtr<float> at = piece_ + row * kPitch + Lane() % kRowLanes * kColumns;
    const Floats4 first = Load<Floats4>(at + (swap ? 4 : 0));
    const Floats4 second = Load<Floats4>(at + (swap ? 0 : 4));
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      value[i] = swap ? second.value[i] : first.value[i];
      value[i + 4] = swap ? first.value[i] : second.value[i];
    }
  }

  struct alignas(8) Float2 {
    float x, y;
  };

  SharedPtr<float> piece_;
};

// Stores a block's products: to y, or, where k is split, to the block's share of the partial sums.
template <class T, class Tile>
__device__ __forceinline__ void FinishTile(const Products<T, Tile>& products, const Split& split,
                                           const Epilogue& epilogue, const Output& output, int row,
                                           int column) {
  if (split.count == 1) {
    TileFinisher<T, Tile>().Run(products, epilogue, output, row, column);
    return;
  }
  Epilogue nothing;
  nothing.float_output = true;
  float* share = split.partials + int64_t{BlockIndex().y} * output.m * output.n;
  TileFinisher<T, Tile>().Run(products, nothing, {share, output.n, output.m, output.n}, row,
                              column);
}

}  // namespace tiltshift::kernels
