// y = epilogue(x * w): see conv.h.
//
// GEMM's tiles, stages and main loop (tile.cuh) with m = positions of y, n = channels of y, k =
// taps x channels. A tile of k lies within one tap: where the channels are no multiple of it, a
// tap's last tile is filled with zeros. A thread copies the same few rows all along, so it works
// out once where they lie in x. A block reads a position of x nine times, from L2
// (neighbouring taps of one row of positions) all but once. Errors: as GEMM's with k = kernel^2
// channels. Reference: testing/conv_case.cc.
//
// The prologue changes tiles where cp.async has laid them (prologue.cuh). A number of x is changed
// again for every tap and every tile of columns that reads it: a 1x1 convolution saves the pass
// over x that a norm's last launch is, but a 3x3 pays nine changes a tile of columns for it, and
// two special functions a number and tap weigh as much as an A100's products. So there the norm
// stays a launch of its own (PrologueGains). Staging x in registers instead of shared memory would
// save a chunk's load and store, and takes 32 registers that the large tile has not got; changing a
// patch once for its nine taps would save eight changes of nine, and orders the sums in another
// way. Registers without and with it, none spilled on sm_80, sm_90 and sm_120: 246 and 254 of
// 128x128x64, 120 and 127 of 64x64x64, 102 and 128 of 64x64x32 at most. Time with a prologue:
// unmeasured.
#include "kernels/conv.h"
#include "kernels/conv_patch.cuh"
#include "kernels/launch.h"
#include "kernels/prologue.cuh"
#include "kernels/tile.cuh"
#include "kernels/tile_output.cuh"

namespace tiltshift::kernels {
namespace {

__host__ __device__ __forceinline__ int64_t RowsOf(const ConvShape& s) {
  return int64_t{s.batch} * s.out_height * s.out_width;
}

// What stands between x and the tensor cores.
enum class Input : uint8_t { kPlain, kEnlarged, kNormed /* perhaps enlarged too */ };

template <class T, class Tile, Input kInput>
__global__ void __launch_bounds__(Tile::kThreads) ConvKernel(ConvArguments<T> p) {
  const int rows = static_cast<int>(RowsOf(p.shape));
  const int tiles_m = (rows + Tile::kM - 1) / Tile::kM;
  const int tiles_n = (p.shape.out_channels + Tile::kN - 1) / Tile::kN;
  const TilePlace place = PlaceOfBlock(BlockIndex().x, tiles_m, tiles_n);
  const int row = place.m * Tile::kM, column = place.n * Tile::kN;

  const int tap_tiles = (p.shape.channels + Tile::kK - 1) / Tile::kK;
  const int k_tiles = p.shape.kernel * p.shape.kernel * tap_tiles;
  const TileRange range = RangeOfShare<Tile>(k_tiles, BlockIndex().y, p.split.count);
  const TapPlace first(range.begin / tap_tiles, range.begin % tap_tiles * Tile::kK, p.shape);

  FilterCopier<T, Tile> filters(p, column, first);
  Products<T, Tile> products;
  if constexpr (kInput == Input::kNormed) {
    PatchChanger<T, Tile> patches(p, row, first);
    products.Run(range.end - range.begin, patches, filters,
                 [&](SharedPtr<T> stage, int behind) { patches.Land(stage, behind); });
  } else {
    PatchCopier<T, Tile, kInput == Input::kEnlarged> patches(p, row, first);
    products.Run(range.end - range.begin, patches, filters);
  }
  FinishTile<T, Tile>(products, p.split, p.epilogue, {p.y, p.y_stride, rows, p.shape.out_channels},
                      row, column);
}

template <class T, class Tile>
cudaError_t LaunchTile(cudaStream_t stream, const ConvArguments<T>& p) {
  const int64_t blocks = (RowsOf(p.shape) + Tile::kM - 1) / Tile::kM *
                         ((p.shape.out_channels + Tile::kN - 1) / Tile::kN);
  const LaunchShape shape = {
      .grid = {static_cast<unsigned>(blocks), static_cast<unsigned>(p.split.count)},
      .block = {Tile::kThreads},
      .shared_bytes = Tile::kSharedBytes};
  if (p.prologue.affine != nullptr) {
    return Launch<&ConvKernel<T, Tile, Input::kNormed>>(stream, shape, p);
  }
  return p.shape.upsample ? Launch<&ConvKernel<T, Tile, Input::kEnlarged>>(stream, shape, p)
                          : Launch<&ConvKernel<T, Tile, Input::kPlain>>(stream, shape, p);
}

// What 32 bits can say from a tile's first sample on.
constexpr int64_t kMostPictureNumbers = int64_t{1} << 30;
constexpr int kMostSide = 1 << 14;

template <class T>
bool Fits(const ConvArguments<T>& p) {
  const auto aligned = [](const void* at) {
    return reinterpret_cast<uintptr_t>(at) % kChunkBytes == 0;
  };
  const ConvShape& s = p.shape;
  return s.batch > 0 && s.height > 0 && s.width > 0 && s.channels > 0 && s.out_height > 0 &&
         s.out_width > 0 && s.out_channels > 0 && (s.kernel == 1 || s.kernel == 3) &&
         (s.stride == 1 || s.stride == 2) && s.channels % kChunk == 0 && p.x_stride % kChunk == 0 &&
         aligned(p.x) && aligned(p.w) && aligned(p.prologue.affine) &&
         RowsOf(s) < int64_t{1} << 31 && s.out_height * s.stride <= kMostSide &&
         s.out_width * s.stride <= kMostSide && s.height << (s.upsample ? 1 : 0) <= kMostSide &&
         int64_t{s.height} * s.width * p.x_stride < kMostPictureNumbers &&
         int64_t{2} * s.batch * s.channels < kMostPictureNumbers &&
         int64_t{s.out_channels} * s.kernel * s.kernel * s.channels < kMostPictureNumbers;
}

}  // namespace

template <class T>
cudaError_t Conv(cudaStream_t stream, const ConvArguments<T>& p) {
  if (p.split.count > 1 && (p.shape.channels % kSplitUnit != 0 || p.split.partials == nullptr)) {
    return cudaErrorInvalidValue;
  }
  if (!Fits(p) || !Fits(p.epilogue)) return cudaErrorInvalidValue;
  const TileChoice choice =
      p.tile == TileChoice::kAuto
          ? ChooseTile(RowsOf(p.shape), p.shape.out_channels,
                       int64_t{p.shape.kernel} * p.shape.kernel * p.shape.channels, p.split.count)
          : p.tile;
  const cudaError_t error =
      WithTile(choice, [&]<class Tile>() { return LaunchTile<T, Tile>(stream, p); });
  if (error != cudaSuccess || p.split.count == 1) return error;
  const int rows = static_cast<int>(RowsOf(p.shape));
  return SumShares<T>(stream, {p.split, rows, p.shape.out_channels, p.y, p.y_stride, p.epilogue});
}

template cudaError_t Conv(cudaStream_t, const ConvArguments<Bf16>&);
#ifndef TILTSHIFT_BF16_ONLY
template cudaError_t Conv(cudaStream_t, const ConvArguments<Fp16>&);
#endif

}  // namespace tiltshift::kernels
