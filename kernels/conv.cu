// y = epilogue(x * w): see conv.h.
//
// GEMM's tiles, stages and main loop (tile.cuh) with m = positions of y, n = channels of y, k =
// taps x channels. A tile of k lies within one tap: where the channels are no multiple of 32, a
// tap's last tile is filled with zeros. A thread copies the same few rows all along, so it works
// out where they lie in x once a tap. A block reads a position of x nine times, from L2
// (neighbouring taps of one row of positions) all but once. Errors: as GEMM's with k = kernel^2
// channels. Reference: ConvReference in testing/conv_case.cc.
#include "kernels/conv.h"
#include "kernels/launch.h"
#include "kernels/tile.cuh"
#include "kernels/tile_output.cuh"

namespace tiltshift::kernels {
namespace {

// The tile of k that is copied next: a tap and its first channel.
struct TapPlace {
  int row, column, index, channel;

  __device__ __forceinline__ TapPlace(int tap, int first_channel, const ConvShape& shape)
      : row(tap / shape.kernel), column(tap % shape.kernel), index(tap), channel(first_channel) {}

  // True when a new tap begins.
  __device__ __forceinline__ bool Advance(int step, const ConvShape& shape) {
    channel += step;
    if (channel < shape.channels) return false;
    channel = 0;
    ++index;
    if (++column == shape.kernel) {
      column = 0;
      ++row;
    }
    return true;
  }
};

// Positions of x under the rows of a tile, tap by tap. Called once for each tile of k, in order.
template <class T, class Tile>
class PatchCopier {
 public:
  __device__ __forceinline__ PatchCopier(const ConvArguments<T>& p, int first_row,
                                         const TapPlace& first)
      : p_(p),
        place_(first),
        chunk_(ThreadIndex().x % Tile::kRowChunks),
        row_(ThreadIndex().x / Tile::kRowChunks) {
    const ConvShape& s = p.shape;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int row = first_row + row_ + i * Tile::kRowsAtOnce;
      const int line = row / s.out_width;
      const int sample = line / s.out_height;
      const bool exists = sample < s.batch;
      // A row that does not exist lies so far off that no tap reaches x.
      top_[i] = exists ? (line - sample * s.out_height) * s.stride - s.pad : kFarOff;
      left_[i] = (row - line * s.out_width) * s.stride - s.pad;
      first_line_[i] = sample * s.height;
    }
    FindPositions();
  }

  __device__ __forceinline__ void operator()(SharedPtr<T> tile, int) {
    const int channel = place_.channel + chunk_ * kChunk;
    const GlobalPtr<const T> from = GlobalPtr<const T>(p_.x) + channel;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const bool valid = position_[i] >= 0 && channel < p_.shape.channels;
      CopyAsync16(tile + Tile::At(row_ + i * Tile::kRowsAtOnce, chunk_),
                  from + (valid ? position_[i] * p_.x_stride : -channel), valid);
    }
    if (place_.Advance(Tile::kK, p_.shape)) FindPositions();
  }

 private:
  static constexpr int kRows = Tile::kM / Tile::kRowsAtOnce;
  static constexpr int kFarOff = -(1 << 20);

  __device__ __forceinline__ void FindPositions() {
    const ConvShape& s = p_.shape;
    const int shift = s.upsample ? 1 : 0;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int y = top_[i] + place_.row, x = left_[i] + place_.column;
      const bool inside = y >= 0 && y < s.height << shift && x >= 0 && x < s.width << shift;
      position_[i] = inside ? (first_line_[i] + (y >> shift)) * s.width + (x >> shift) : -1;
    }
  }

  const ConvArguments<T>& p_;
  TapPlace place_;
  int chunk_, row_;
  int top_[kRows], left_[kRows];  // of the kernel's first tap, in the (enlarged) picture
  int first_line_[kRows];         // of the sample, among all lines of x
  int position_[kRows];           // of this tap, among all positions of x; -1 outside
};

// Rows of w into a stage, in the same order of tiles.
template <class T, class Tile>
class FilterCopier {
 public:
  __device__ __forceinline__ FilterCopier(const ConvArguments<T>& p, int first_row,
                                          const TapPlace& first)
      : shape_(p.shape),
        place_(first),
        chunk_(ThreadIndex().x % Tile::kRowChunks),
        row_(ThreadIndex().x / Tile::kRowChunks),
        rows_left_(p.shape.out_channels - first_row - row_),
        row_numbers_(p.shape.kernel * p.shape.kernel * p.shape.channels),
        from_(GlobalPtr<const T>(p.w) + (int64_t{first_row} + row_) * row_numbers_) {}

  __device__ __forceinline__ void operator()(SharedPtr<T> tile, int) {
    const int channel = place_.channel + chunk_ * kChunk;
    const int column = place_.index * shape_.channels + channel;
#pragma unroll
    for (int i = 0; i < Tile::kN / Tile::kRowsAtOnce; ++i) {
      const int row = i * Tile::kRowsAtOnce;
      const bool valid = row < rows_left_ && channel < shape_.channels;
      CopyAsync16(tile + Tile::At(row_ + row, chunk_),
                  from_ + (valid ? int64_t{row} * row_numbers_ + column : 0), valid);
    }
    place_.Advance(Tile::kK, shape_);
  }

 private:
  const ConvShape& shape_;
  TapPlace place_;
  int chunk_, row_, rows_left_, row_numbers_;
  GlobalPtr<const T> from_;
};

__host__ __device__ __forceinline__ int64_t RowsOf(const ConvShape& s) {
  return int64_t{s.batch} * s.out_height * s.out_width;
}

template <class T, class Tile>
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

  PatchCopier<T, Tile> patches(p, row, first);
  FilterCopier<T, Tile> filters(p, column, first);
  Products<T, Tile> products;
  products.Run(range, patches, filters);
  FinishTile<T, Tile>(products, p.split, p.epilogue, {p.y, p.y_stride, rows, p.shape.out_channels},
                      row, column);
}

template <class T, class Tile>
cudaError_t LaunchTile(cudaStream_t stream, const ConvArguments<T>& p) {
  const int64_t blocks = (RowsOf(p.shape) + Tile::kM - 1) / Tile::kM *
                         ((p.shape.out_channels + Tile::kN - 1) / Tile::kN);
  return Launch<&ConvKernel<T, Tile>>(
      stream,
      {.grid = {static_cast<unsigned>(blocks), static_cast<unsigned>(p.split.count)},
       .block = {Tile::kThreads},
       .shared_bytes = Tile::kSharedBytes},
      p);
}

template <class T>
bool Fits(const ConvArguments<T>& p) {
  const auto aligned = [](const void* at) {
    return reinterpret_cast<uintptr_t>(at) % kChunkBytes == 0;
  };
  const ConvShape& s = p.shape;
  return s.batch > 0 && s.height > 0 && s.width > 0 && s.channels > 0 && s.out_height > 0 &&
         s.out_width > 0 && s.out_channels > 0 && (s.kernel == 1 || s.kernel == 3) &&
         (s.stride == 1 || s.stride == 2) && s.channels % kChunk == 0 && p.x_stride % kChunk == 0 &&
         aligned(p.x) && aligned(p.w) && RowsOf(s) < int64_t{1} << 31;
}

}  // namespace

template <class T>
cudaError_t Conv(cudaStream_t stream, const ConvArguments<T>& p) {
  if (p.split.count > 1 && (p.shape.channels % kSplitUnit != 0 || p.split.partials == nullptr)) {
    return cudaErrorInvalidValue;
  }
  if (!Fits(p)) return cudaErrorInvalidValue;
  const TileChoice choice =
      p.tile == TileChoice::kAuto ? ChooseTile(RowsOf(p.shape), p.shape.out_channels) : p.tile;
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
