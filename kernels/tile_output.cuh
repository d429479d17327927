// A block's tile of products, from registers through shared memory to y.
//
// mma.sync leaves two neighbouring columns in a lane; memory wants sixteen bytes. So each warp lays
// 16 rows at a time into its own piece of shared memory, in fp32, and takes them out again eight
// columns a lane. The pieces lie over the main loop's stages, which are read to the end by then.
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
  static constexpr int kPitch =
      Tile::kWarpN + 8;  // floats; 8 mod 32, so that 4 rows fill the banks
  static constexpr int kPieceFloats = 16 * kPitch;
  static_assert(kPieceFloats * 4 * Tile::kWarpsM * Tile::kWarpsN <= Tile::kSharedBytes);
  static_assert(kRowLanes >= 4 && 16 % kRowsAtOnce == 0);

  __device__ __forceinline__ TileFinisher(const Epilogue& epilogue, const Output& output)
      : rows_(epilogue, output),
        m_(output.m),
        n_(output.n),
        piece_(Shared<float>(Warp() * kPieceFloats * 4)) {}

  // `row`, `column`: of the block's first product.
  __device__ __forceinline__ void Run(const Products<T, Tile>& products, int row, int column) {
    const int lane = Lane();
    const int first_column = column + products.warp_n() + lane % kRowLanes * kColumns;
    float bias[kColumns];
    rows_.LoadBias(first_column, bias);
#pragma unroll
    for (int m = 0; m < Tile::kTilesM; ++m) {
      Put(products.c[m]);
      SyncWarp();
#pragma unroll
      for (int i = 0; i < 16 / kRowsAtOnce; ++i) {
        const int piece_row = i * kRowsAtOnce + lane / kRowLanes;
        const int y_row = row + products.warp_m() + 16 * m + piece_row;
        float value[kColumns];
        Take(piece_row, value);
        if (y_row < m_ && first_column < n_) rows_.Finish(y_row, first_column, bias, value);
      }
      SyncWarp();
    }
  }

 private:
  __device__ __forceinline__ void Put(const float (&c)[Tile::kTilesN][4]) {
    const int row = Lane() / 4, column = Lane() % 4 * 2;
#pragma unroll
    for (int n = 0; n < Tile::kTilesN; ++n) {
      Store(piece_ + row * kPitch + 8 * n + column, Float2{c[n][0], c[n][1]});
      Store(piece_ + (row + 8) * kPitch + 8 * n + column, Float2{c[n][2], c[n][3]});
    }
  }

  // Eight floats in two loads. Lanes 4 to 7 of a pass begin with their second half, so that the
  // eight lanes of a pass touch all banks.
  __device__ __forceinline__ void Take(int row, float (&value)[kColumns]) {
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

  RowFinisher<T> rows_;
  int m_, n_;
  SharedPtr<float> piece_;
};

// Stores a block's products: to y, or, where k is split, to the block's share of the partial sums.
template <class T, class Tile>
__device__ __forceinline__ void FinishTile(const Products<T, Tile>& products, const Split& split,
                                           const Epilogue& epilogue, const Output& output, int row,
                                           int column) {
  if (split.count == 1) {
    TileFinisher<T, Tile>(epilogue, output).Run(products, row, column);
    return;
  }
  Epilogue nothing;
  nothing.float_output = true;
  float* share = split.partials + int64_t{BlockIndex().y} * output.m * output.n;
  TileFinisher<T, Tile>(nothing, {share, output.n, output.m, output.n}).Run(products, row, column);
}

}  // namespace tiltshift::kernels
