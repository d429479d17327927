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
  static constexpr int kStageBytes = (kM + kN) * kK * 2;
  static constexpr int kSharedBytes = kStages * kStageBytes;
  static_assert(kK == 32 || kK == 64);
  static_assert(kM % kRowsAtOnce == 0 && kN % kRowsAtOnce == 0 && kTilesN % 2 == 0);

  // Where chunk `chunk` of row `row` lies in a tile, in numbers.
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
    case TileChoice::k128x64:
      return visit.template operator()<TileShape<128, 64, 32, 2, 2, 4>>();
    case TileChoice::k128x128Deep:
      return visit.template operator()<TileShape<128, 128, 64, 2, 2, 3>>();
    case TileChoice::k128x256:
      return visit.template operator()<TileShape<128, 256, 32, 2, 4, 4>>();
    case TileChoice::k256x128:
      return visit.template operator()<TileShape<256, 128, 32, 4, 2, 4>>();
    default:
      return visit.template operator()<TileShape<128, 128, 32, 2, 2, 4>>();
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

// Rows of B (weights [n, k], row major) into a stage; rows beyond n and columns beyond k are zeros.
template <class T, class Tile>
class WeightCopier {
 public:
  __device__ __forceinline__ WeightCopier(const T* weights, int first_row, int n, int k)
      : chunk_(ThreadIndex().x % Tile::kRowChunks),
        row_(ThreadIndex().x / Tile::kRowChunks),
        rows_left_(n - first_row - row_),
        k_(k),
        from_(GlobalPtr<const T>(weights) + (int64_t{first_row} + row_) * k) {}

  __device__ __forceinline__ void operator()(SharedPtr<T> tile, int k_tile) const {
    const int column = k_tile * Tile::kK + chunk_ * kChunk;
#pragma unroll
    for (int i = 0; i < Tile::kN / Tile::kRowsAtOnce; ++i) {
      const int row = i * Tile::kRowsAtOnce;
      const bool valid = row < rows_left_ && column < k_;
      CopyAsync16(tile + Tile::At(row_ + row, chunk_),
                  from_ + (valid ? int64_t{row} * k_ + column : 0), valid);
    }
  }

 private:
  int chunk_, row_, rows_left_, k_;
  GlobalPtr<const T> from_;
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

  // Adds the tiles of a range of k: copy_a(tile, k_tile) and copy_b(tile, k_tile) issue the copies
  // of one stage.
  template <class CopyA, class CopyB>
  __device__ __forceinline__ void Run(const TileRange& range, CopyA& copy_a, CopyB& copy_b) {
    const int k_tiles = range.end - range.begin;
    const auto copy = [&](int k_tile) {
      if (k_tile < k_tiles) {
        const SharedPtr<T> stage = Stage(k_tile % Tile::kStages);
        copy_a(stage, range.begin + k_tile);
        copy_b(stage + Tile::kM * Tile::kK, range.begin + k_tile);
      }
      CommitCopies();
    };
#pragma unroll
    for (int i = 0; i < Tile::kStages - 1; ++i) copy(i);
    for (int k_tile = 0; k_tile < k_tiles; ++k_tile) {
      WaitCopies<Tile::kStages - 2>();
      SyncThreads();  // the stage is full, and the one before it is read to the end
      copy(k_tile + Tile::kStages - 1);
      AddStage(Stage(k_tile % Tile::kStages));
    }
    WaitCopies<0>();
    SyncThreads();
  }

  __device__ __forceinline__ int warp_m() const { return warp_m_; }
  __device__ __forceinline__ int warp_n() const { return warp_n_; }

  float c[Tile::kTilesM][Tile::kTilesN][4];

 private:
  static __device__ __forceinline__ SharedPtr<T> Stage(int stage) {
    return Shared<T>(stage * Tile::kStageBytes);
  }

  // Both operands for 16 numbers of k. A: lane 16 j + i names chunk j of row i of a 16 x 16 tile.
  // B: two tiles of 8 rows at once; lanes 0-15 name the first's two chunks, 16-31 the second's.
  __device__ __forceinline__ void LoadOperands(SharedPtr<T> stage, int k16,
                                               uint32_t (&a)[Tile::kTilesM][4],
                                               uint32_t (&b)[Tile::kTilesN / 2][4]) const {
    const int lane = Lane();
    SharedPtr<T> a_rows[Tile::kTilesM];
#pragma unroll
    for (int m = 0; m < Tile::kTilesM; ++m) {
      a_rows[m] = stage + Tile::At(warp_m_ + 16 * m + lane % 16, 2 * k16 + lane / 16);
    }
    LoadMatrices<false>(a_rows, a);
    SharedPtr<T> b_rows[Tile::kTilesN / 2];
#pragma unroll
    for (int n = 0; n < Tile::kTilesN / 2; ++n) {
      const int row = warp_n_ + 16 * n + lane / 16 * 8 + lane % 8;
      b_rows[n] = stage + Tile::kM * Tile::kK + Tile::At(row, 2 * k16 + lane / 8 % 2);
    }
    LoadMatrices<false>(b_rows, b);
  }

  // The next operands are loaded before the products of these, so that one hides the other.
  __device__ __forceinline__ void AddStage(SharedPtr<T> stage) {
    constexpr int kSteps = Tile::kK / 16;
    uint32_t a[2][Tile::kTilesM][4];
    uint32_t b[2][Tile::kTilesN / 2][4];
    LoadOperands(stage, 0, a[0], b[0]);
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      if (step + 1 < kSteps) LoadOperands(stage, step + 1, a[(step + 1) % 2], b[(step + 1) % 2]);
      MultiplyAccumulate<T>(c, a[step % 2], b[step % 2]);
    }
  }

  int warp_m_, warp_n_;
};

}  // namespace tiltshift::kernels
