// The main loop of GEMM and convolution: a tile of products, fed through a ring of stages in shared
// memory.
//
//   C[kM, kN] += A[kM, k] B[kN, k]^T, k in tiles of kK, upwards: the order of additions depends on
//   k alone (I4).
//
// A stage holds A's tile [kM, kK], then B's [kN, kK], in rows of kK numbers cut into chunks of 16
// bytes. Chunk c of row r lies at place c ^ swizzle(r), so that the eight rows an ldmatrix pass
// reads, and the eight chunks a pass of copies writes, lie in different banks.
//
// Warps form a grid of kWarpsM x kWarpsN; each has C's [kM / kWarpsM, kN / kWarpsN] in registers,
// with the lane layout of mma.sync m16n8k16.
#pragma once

#include "kernels/device.h"
#include "kernels/split.h"
#include "kernels/tile_choice.h"

namespace tiltshift::kernels {

template <int kM_, int kN_, int kK_, int kWarpsM_, int kWarpsN_, int kStages_>
struct TileShape {
  static constexpr int kM = kM_, kN = kN_, kK = kK_;
  static constexpr int kWarpsM = kWarpsM_, kWarpsN = kWarpsN_, kStages = kStages_;
  static constexpr int kThreads = 32 * kWarpsM * kWarpsN;
  static constexpr int kWarpM = kM / kWarpsM, kWarpN = kN / kWarpsN;  // a warp's part
  static constexpr int kTilesM = kWarpM / 16, kTilesN = kWarpN / 8;   // in mma tiles
  static constexpr int kRowChunks = kK / kChunk;
  static constexpr int kRowsAtOnce =
      kThreads / kRowChunks;  // rows that one copy of each thread fills
  static constexpr int kStageNumbers = (kM + kN) * kK;
  static constexpr int kStageBytes = kStageNumbers * 2;
  // The epilogue lays the products over the stages, in fp32 (tile_output.cuh).
  static constexpr int kPitch = kWarpN + 8;  // floats; 8 mod 32, so that 4 rows fill the banks
  static constexpr int kOutputBytes = kWarpsM * kWarpsN * kWarpM * kPitch * 4;
  static constexpr int kSharedBytes =
      kStages * kStageBytes > kOutputBytes ? kStages* kStageBytes : kOutputBytes;
  static_assert(kK == 32 || kK == 64);
  static_assert(kM % kRowsAtOnce == 0 && kN % kRowsAtOnce == 0 && kRowsAtOnce % 8 == 0 &&
                kTilesN % 2 == 0);

  // Where chunk `chunk` of row `row` lies in a tile, in numbers. Eight rows further it is eight
  // rows further: what is a multiple of that apart needs no second look.
  static __device__ __forceinline__ int At(int row, int chunk) {
    const int swizzle = kK == 64 ? row % 8 : row / 2 % 4;
    return row * kK + (chunk ^ swizzle) * kChunk;
  }
};

// visit.template operator()<Tile>() with the shape of a choice that is not kAuto.
template <class Visit>
auto WithTile(TileChoice choice, const Visit& visit) {
  switch (choice) {
    case TileChoice::k64x64:
      return visit.template operator()<TileShape<64, 64, 32, 2, 2, 4>>();
    case TileChoice::k64x64Deep:
      return visit.template operator()<TileShape<64, 64, 64, 2, 2, 3>>();
    default:
      return visit.template operator()<TileShape<128, 128, 64, 2, 2, 3>>();
  }
}

// Which tile of C a block makes. Blocks follow each other down groups of 8 tiles of rows, so that
// those which run at one time share rows of A and of B in the L2 cache.
struct TilePlace {
  int m, n;
};
__device__ __forceinline__ TilePlace PlaceOfBlock(int block, int tiles_m, int tiles_n) {
  constexpr int kGroup = 8;
  const int group = block / (kGroup * tiles_n);
  const int first = group * kGroup;
  const int height = tiles_m - first < kGroup ? tiles_m - first : kGroup;
  const int inside = block - first * tiles_n;
  return {first + inside % height, inside / height};
}

// The tiles of k that a block adds: all, or its share (split.h).
struct TileRange {
  int begin, end;
};
template <class Tile>
__device__ __forceinline__ TileRange RangeOfShare(int k_tiles, int share, int count) {
  constexpr int kUnitTiles = kSplitUnit / Tile::kK;
  if (count == 1) return {0, k_tiles};
  const int units = k_tiles / kUnitTiles;
  const int each = (units + count - 1) / count * kUnitTiles;
  const int begin = share * each, end = begin + each;
  return {begin < k_tiles ? begin : k_tiles, end < k_tiles ? end : k_tiles};
}

// Copies kRows rows of a matrix [rows, k] into stages, tile of k after tile of k. Beyond the last
// row that one is copied again: its products are dropped. Columns beyond k are zeros.
template <class T, class Tile, int kRows>
class RowCopier {
 public:
  __device__ __forceinline__ RowCopier(const T* matrix, int64_t stride, int rows, int k,
                                       int first_row, int first_column) {
    const int row = ThreadIndex().x / Tile::kRowChunks, chunk = ThreadIndex().x % Tile::kRowChunks;
    const int column = first_column + chunk * kChunk;
    target_ = Tile::At(row, chunk);
    columns_left_ = k - column;
    from_ = GlobalPtr(matrix) + (first_row * stride + column);
    const int rows_left = rows - first_row;
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      const int at = row + i * Tile::kRowsAtOnce;
      offset_[i] = (at < rows_left ? at : rows_left - 1) * static_cast<int>(stride);
    }
  }

  __device__ __forceinline__ void operator()(SharedPtr<T> tile) {
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      CopyAsync16(tile + (target_ + i * Tile::kRowsAtOnce * Tile::kK), from_ + offset_[i],
                  columns_left_ > 0);
    }
    from_ = from_ + Tile::kK;
    columns_left_ -= Tile::kK;
  }

 private:
  static constexpr int kCopies = kRows / Tile::kRowsAtOnce;

  int target_, columns_left_;
  GlobalPtr<const T> from_;
  int offset_[kCopies];
};

// One warp's products.
template <class T, class Tile>
class Products {
 public:
  __device__ __forceinline__ Products()
      : warp_m_(Warp() / Tile::kWarpsN * Tile::kWarpM),
        warp_n_(Warp() % Tile::kWarpsN * Tile::kWarpN) {
#pragma unroll
    for (int m = 0; m < Tile::kTilesM; ++m) {
#pragma unroll
      for (int n = 0; n < Tile::kTilesN; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) c[m][n][i] = 0;
      }
    }
  }

  // Adds `k_tiles` tiles of k. copy_a(stage), copy_b(stage) issue the copies of the next tile;
  // landed(stage, behind) sees A's when this thread's copies of them are there, and may change
  // those; copies of `behind` tiles have been issued since.
  //
  // Operands are loaded a step of 16 k ahead, across stages too: the barrier that a stage begins
  // with lies before the last products of the stage before. The stage read last is filled anew.
  template <class CopyA, class CopyB, class Landed>
  __device__ __forceinline__ void Run(int k_tiles, CopyA& copy_a, CopyB& copy_b,
                                      const Landed& landed) {
    if (k_tiles == 0) return;  // a share without any
    SharedPtr<T> fill = Shared<T>(0), read = Shared<T>(0);
    int to_copy = k_tiles;
    const auto copy = [&] {
      if (to_copy > 0) {
        copy_a(fill);
        copy_b(fill + Tile::kM * Tile::kK);
      }
      --to_copy;
      fill = After(fill);
      CommitCopies();
    };
#pragma unroll
    for (int i = 0; i < Tile::kStages - 1; ++i) copy();
    WaitCopies<Tile::kStages - 2>();
    landed(read, Behind(to_copy));
    SyncThreads();

    constexpr int kSteps = Tile::kK / 16;
    uint32_t a[2][Tile::kTilesM][4];
    uint32_t b[2][Tile::kTilesN / 2][4];
    LoadOperands(read, 0, a[0], b[0]);
    for (int left = k_tiles; left > 0; --left) {
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        if (step == kSteps - 1) {
          WaitCopies<Tile::kStages - 2>();
          if (left > 1) {  // the very last load is for nothing
            read = After(read);
            landed(read, Behind(to_copy));
          }
          SyncThreads();
        }
        LoadOperands(read, (step + 1) % kSteps, a[(step + 1) % 2], b[(step + 1) % 2]);
        MultiplyAccumulate<T>(c, a[step % 2], b[step % 2]);
        if (step == 0) copy();  // here, where the fewest registers are taken
      }
    }
    WaitCopies<0>();
    SyncThreads();
  }
  template <class CopyA, class CopyB>
  __device__ __forceinline__ void Run(int k_tiles, CopyA& copy_a, CopyB& copy_b) {
    Run(k_tiles, copy_a, copy_b, [](SharedPtr<T>, int) {});
  }

  __device__ __forceinline__ int warp_m() const { return warp_m_; }
  __device__ __forceinline__ int warp_n() const { return warp_n_; }

  float c[Tile::kTilesM][Tile::kTilesN][4];

 private:
  static __device__ __forceinline__ SharedPtr<T> After(SharedPtr<T> stage) {
    const SharedPtr<T> next = stage + Tile::kStageNumbers;
    return next == Shared<T>(Tile::kStages * Tile::kStageBytes) ? Shared<T>(0) : next;
  }

  // `to_copy`: tiles that are still to be copied; below 0: how often there was nothing to copy.
  static __device__ __forceinline__ int Behind(int to_copy) {
    return Tile::kStages - 2 + (to_copy < 0 ? to_copy : 0);
  }

  // Both operands for 16 numbers of k. A: lane 16 j + i names chunk j of row i of a 16 x 16 tile.
  // B: two tiles of 8 rows at once; lanes 0-15 name the first's two chunks, 16-31 the second's.
  __device__ __forceinline__ void LoadOperands(SharedPtr<T> stage, int k16,
                                               uint32_t (&a)[Tile::kTilesM][4],
                                               uint32_t (&b)[Tile::kTilesN / 2][4]) const {
    const int lane = Lane();
    const SharedPtr<T> a_row =
        stage + (warp_m_ * Tile::kK + Tile::At(lane % 16, 2 * k16 + lane / 16));
    const SharedPtr<T> b_row = stage + ((Tile::kM + warp_n_) * Tile::kK +
                                        Tile::At(lane / 16 * 8 + lane % 8, 2 * k16 + lane / 8 % 2));
    SharedPtr<T> a_rows[Tile::kTilesM], b_rows[Tile::kTilesN / 2];
#pragma unroll
    for (int m = 0; m < Tile::kTilesM; ++m) a_rows[m] = a_row + 16 * m * Tile::kK;
#pragma unroll
    for (int n = 0; n < Tile::kTilesN / 2; ++n) b_rows[n] = b_row + 16 * n * Tile::kK;
    LoadMatrices<false>(a_rows, a);
    LoadMatrices<false>(b_rows, b);
  }

  int warp_m_, warp_n_;
};

}  // namespace tiltshift::kernels
