// y = epilogue(x w^T): see gemm.h.
//
// Tile 128 x 128 x 64, four warps of 64 x 64 each, three stages of 32 KB, two blocks a
// multiprocessor; where that leaves too much of a card idle, 64 x 64 with four warps of 32 x 32. A
// block reads (kM + kN) k numbers and does 2 kM kN k operations: 64 a byte for the large tile, more
// than the 200 to 300 of a card's balance only because neighbours find their rows in L2
// (PlaceOfBlock). Errors: fp32 sums of exact products, |error| <= k 2^-24 sum |x w| before the one
// rounding to T. Reference: testing/gemm_case.cc. Times: docs/performance.md.
#include "kernels/gemm.h"
#include "kernels/launch.h"
#include "kernels/tile.cuh"
#include "kernels/tile_output.cuh"

namespace tiltshift::kernels {
namespace {

template <class T, class Tile>
__global__ void __launch_bounds__(Tile::kThreads) GemmKernel(GemmArguments<T> p) {
  const int k = p.shape.k;
  const int tiles_m = (p.shape.m + Tile::kM - 1) / Tile::kM;
  const int tiles_n = (p.shape.n + Tile::kN - 1) / Tile::kN;
  const TilePlace place = PlaceOfBlock(BlockIndex().x, tiles_m, tiles_n);
  const int row = place.m * Tile::kM, column = place.n * Tile::kN;

  const TileRange range =
      RangeOfShare<Tile>((k + Tile::kK - 1) / Tile::kK, BlockIndex().y, p.split.count);
  const int first_k = range.begin * Tile::kK;
  RowCopier<T, Tile, Tile::kM> x(p.x, p.x_stride, p.shape.m, k, row, first_k);
  RowCopier<T, Tile, Tile::kN> w(p.w, k, p.shape.n, k, column, first_k);
  Products<T, Tile> products;
  products.Run(range.end - range.begin, x, w);
  FinishTile<T, Tile>(products, p.split, p.epilogue, {p.y, p.y_stride, p.shape.m, p.shape.n}, row,
                      column);
}

template <class T, class Tile>
cudaError_t LaunchTile(cudaStream_t stream, const GemmArguments<T>& p) {
  const unsigned blocks = static_cast<unsigned>((p.shape.m + Tile::kM - 1) / Tile::kM) *
                          static_cast<unsigned>((p.shape.n + Tile::kN - 1) / Tile::kN);
  const LaunchShape shape = {.grid = {blocks, static_cast<unsigned>(p.split.count)},
                             .block = {Tile::kThreads},
                             .shared_bytes = Tile::kSharedBytes};
  return Launch<&GemmKernel<T, Tile>>(stream, shape, p);
}

bool Fits(const GemmShape& shape, int64_t x_stride, const void* x, const void* w) {
  const auto aligned = [](const void* at) {
    return reinterpret_cast<uintptr_t>(at) % kChunkBytes == 0;
  };
  return shape.m > 0 && shape.n > 0 && shape.k > 0 && shape.k % kChunk == 0 &&
         x_stride % kChunk == 0 && aligned(x) && aligned(w);
}

}  // namespace

template <class T>
cudaError_t Gemm(cudaStream_t stream, const GemmArguments<T>& p) {
  if (p.split.count > 1 && (p.shape.k % kSplitUnit != 0 || p.split.partials == nullptr)) {
    return cudaErrorInvalidValue;
  }
  if (!Fits(p.shape, p.x_stride, p.x, p.w) || !Fits(p.epilogue)) return cudaErrorInvalidValue;
  const TileChoice choice = p.tile == TileChoice::kAuto
                                ? ChooseTile(p.shape.m, p.shape.n, p.shape.k, p.split.count)
                                : p.tile;
  const cudaError_t error =
      WithTile(choice, [&]<class Tile>() { return LaunchTile<T, Tile>(stream, p); });
  if (error != cudaSuccess || p.split.count == 1) return error;
  return SumShares<T>(stream, {p.split, p.shape.m, p.shape.n, p.y, p.y_stride, p.epilogue});
}

template cudaError_t Gemm(cudaStream_t, const GemmArguments<Bf16>&);
#ifndef TILTSHIFT_BF16_ONLY
template cudaError_t Gemm(cudaStream_t, const GemmArguments<Fp16>&);
#endif

}  // namespace tiltshift::kernels
