// The code of epilogue.h: a block's tile of products, from registers through shared memory to y.
//
// mma.sync leaves two neighbouring columns in a lane; memory wants sixteen bytes. So each warp lays
// 16 rows at a time into its own piece of shared memory, in fp32, and takes them out again eight
// columns a lane. The pieces lie over the main loop's stages, which are read to the end by then.
#pragma once

#include "kernels/device.h"
#include "kernels/epilogue.h"
#include "kernels/tile.cuh"

namespace tiltshift::kernels {

// Where a block's results go.
struct Output {
  void* y;
  int64_t y_stride;  // in numbers
  int m, n;          // of the whole product; rows and columns beyond are dropped
};

template <class T, class Tile>
class Finisher {
 public:
  static constexpr int kColumns = 8;                         // a lane's
  static constexpr int kRowLanes = Tile::kWarpN / kColumns;  // lanes to a row
  static constexpr int kRowsAtOnce = 32 / kRowLanes;
  static constexpr int kPitch =
      Tile::kWarpN + 8;  // floats; 8 mod 32, so that 4 rows fill the banks
  static constexpr int kPieceFloats = 16 * kPitch;
  static_assert(kPieceFloats * 4 * Tile::kWarpsM * Tile::kWarpsN <= Tile::kSharedBytes);
  static_assert(kRowLanes >= 4 && 16 % kRowsAtOnce == 0);

  __device__ __forceinline__ Finisher(const Epilogue& epilogue, const Output& output)
      : e_(epilogue), out_(output), piece_(Shared<float>(Warp() * kPieceFloats * 4)) {}

  // `row`, `column`: of the block's first product.
  __device__ __forceinline__ void Run(const Products<T, Tile>& products, int row, int column) {
    const int lane = Lane();
    const int first_column = column + products.warp_n() + lane % kRowLanes * kColumns;
    float bias[kColumns] = {};
    if (e_.bias != nullptr) AddFloats(e_.bias, first_column, bias);
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
        if (y_row < out_.m && first_column < out_.n) Finish(y_row, first_column, bias, value);
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

  __device__ __forceinline__ void Finish(int row, int column, const float (&bias)[kColumns],
                                         float (&value)[kColumns]) {
#pragma unroll
    for (int i = 0; i < kColumns; ++i) value[i] += bias[i];
    if (e_.sample_bias != nullptr) {
      AddFloats(e_.sample_bias + int64_t{row / e_.rows_per_sample} * out_.n, column, value);
    }
    if (e_.activation == Activation::kGeglu) {
      float gated[kColumns / 2];
#pragma unroll
      for (int i = 0; i < kColumns / 2; ++i) gated[i] = value[2 * i] * Gelu(value[2 * i + 1]);
      Write<kColumns / 2>(row, column / 2, out_.n / 2, gated);
      return;
    }
    if (e_.activation == Activation::kSilu) {
#pragma unroll
      for (float& v : value) v = Silu(v);
    } else if (e_.activation == Activation::kGelu) {
#pragma unroll
      for (float& v : value) v = Gelu(v);
    } else if (e_.activation == Activation::kQuickGelu) {
#pragma unroll
      for (float& v : value) v = QuickGelu(v);
    }
    Write<kColumns>(row, column, out_.n, value);
  }

  // value[i] += from[column + i] where that column exists.
  __device__ __forceinline__ void AddFloats(const float* from, int column,
                                            float (&value)[kColumns]) {
    const GlobalPtr<const float> at = GlobalPtr<const float>(from) + column;
    if (column + kColumns <= out_.n && out_.n % 4 == 0) {
#pragma unroll
      for (int half = 0; half < kColumns; half += 4) {
        const Floats4 floats = Load<Floats4>(at + half);
#pragma unroll
        for (int i = 0; i < 4; ++i) value[half + i] += floats.value[i];
      }
      return;
    }
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      if (column + i < out_.n) value[i] += Load(at + i);
    }
  }

  // kCount numbers of y's row, of which only those before `columns` exist; whole ones go in one
  // access.
  template <int kCount>
  __device__ __forceinline__ void Write(int row, int column, int columns, float (&value)[kCount]) {
    const bool whole = column + kCount <= columns;
    if (e_.residual != nullptr) {
      const GlobalPtr<const T> from = GlobalPtr(static_cast<const T*>(e_.residual)) +
                                      (int64_t{row} * e_.residual_stride + column);
      if (whole && e_.residual_stride % kCount == 0) {
        const Pack<kCount> pack = Load<Pack<kCount>>(from);
#pragma unroll
        for (int i = 0; i < kCount / 2; ++i) {
          value[2 * i] += LowOf<T>(pack.word[i]);
          value[2 * i + 1] += HighOf<T>(pack.word[i]);
        }
      } else {
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
          if (column + i < columns) value[i] += ToFloat(Load(from + i));
        }
      }
    }
    const int64_t at = int64_t{row} * out_.y_stride + column;
    if (e_.float_output) {
      WriteFloats<kCount>(GlobalPtr(static_cast<float*>(out_.y)) + at, columns - column, value);
    } else if (whole && out_.y_stride % kCount == 0) {
      Pack<kCount> pack;
#pragma unroll
      for (int i = 0; i < kCount / 2; ++i)
        pack.word[i] = PackPair<T>(value[2 * i], value[2 * i + 1]);
      Store(GlobalPtr(static_cast<T*>(out_.y)) + at, pack);
    } else {
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        if (column + i < columns)
          Store(GlobalPtr(static_cast<T*>(out_.y)) + at + i, FromFloat<T>(value[i]));
      }
    }
  }

  template <int kCount>
  __device__ __forceinline__ void WriteFloats(GlobalPtr<float> to, int columns,
                                              const float (&value)[kCount]) {
    if (columns >= kCount && out_.y_stride % 4 == 0) {
#pragma unroll
      for (int i = 0; i < kCount / 4; ++i) {
        Store(to + 4 * i,
              Floats4{{value[4 * i], value[4 * i + 1], value[4 * i + 2], value[4 * i + 3]}});
      }
      return;
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (i < columns) Store(to + i, value[i]);
    }
  }

  struct alignas(8) Float2 {
    float x, y;
  };
  template <int kCount>
  struct alignas(2 * kCount) Pack {
    uint32_t word[kCount / 2];
  };

  const Epilogue& e_;
  const Output& out_;
  SharedPtr<float> piece_;
};

}  // namespace tiltshift::kernels
