// y = epilogue(x * w): see conv.h.
//
// GEMM's tiles, stages and main loop (tile.cuh) with m = positions of y, n = channels of y, k =
// taps x channels. A tile of k lies within one tap: where the channels are no multiple of it, a
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

// Of a picture that x is padded or enlarged to: two coordinates share a register.
constexpr int kMostSide = 4092;

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

// Copies the positions of x under the rows of a tile, tile of k after tile of k. Where they lie is
// worked out once a tap.
template <class T, class Tile>
class PatchCopier {
 public:
  __device__ __forceinline__ PatchCopier(const ConvArguments<T>& p, int first_row,
                                         const TapPlace& first)
      : p_(p),
        place_(first),
        target_(Tile::At(ThreadIndex().x / Tile::kRowChunks, ThreadIndex().x % Tile::kRowChunks)) {
    const ConvShape& s = p.shape;
    const int sample_rows = s.out_height * s.out_width, first_sample = first_row / sample_rows;
    const int chunk = ThreadIndex().x % Tile::kRowChunks;
    channels_ = s.channels - chunk * kChunk;
    from_ =
        GlobalPtr(p.x) + (int64_t{first_sample} * s.height * s.width * p.x_stride + chunk * kChunk);
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      const int row = first_row + ThreadIndex().x / Tile::kRowChunks + i * Tile::kRowsAtOnce;
      const int line = row / s.out_width, sample = line / s.out_height;
      // A row that does not exist lies so far off that no tap reaches x.
      const int y = sample < s.batch ? (line - sample * s.out_height) * s.stride : kMostSide;
      const int x = (row - line * s.out_width) * s.stride;
      corner_[i] = static_cast<uint32_t>(sample - first_sample) << 24 | y << 12 | x;
    }
    FindPositions();
  }

  __device__ __forceinline__ void operator()(SharedPtr<T> tile) {
    const GlobalPtr<const T> from = from_ + place_.channel;
    const uint32_t inside = place_.channel < channels_ ? inside_ : 0;
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      CopyAsync16(tile + (target_ + i * Tile::kRowsAtOnce * Tile::kK), from + offset_[i],
                  (inside >> i & 1) != 0);
    }
    if (place_.Advance(Tile::kK, p_.shape)) FindPositions();
  }

 private:
  static constexpr int kCopies = Tile::kM / Tile::kRowsAtOnce;

  __device__ __forceinline__ void FindPositions() {
    const ConvShape& s = p_.shape;
    const int shift = s.upsample ? 1 : 0;
    inside_ = 0;
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      const int y = static_cast<int>(corner_[i] >> 12 & 0xfff) + place_.row - s.pad;
      const int x = static_cast<int>(corner_[i] & 0xfff) + place_.column - s.pad;
      const bool inside = y >= 0 && y < s.height << shift && x >= 0 && x < s.width << shift;
      const int first_line = static_cast<int>(corner_[i] >> 24) * s.height;
      const int position = (first_line + (y >> shift)) * s.width + (x >> shift);
      offset_[i] = inside ? position * static_cast<int>(p_.x_stride) : 0;
      inside_ |= (inside ? 1u : 0u) << i;
    }
  }

  const ConvArguments<T>& p_;
  TapPlace place_;
  int target_, channels_;
  GlobalPtr<const T> from_;  // the tile's first sample
  // Of the rows' first tap: samples from the tile's first on, then y and x in the (enlarged)
  // picture without its border, in 8, 12 and 12 bits.
  uint32_t corner_[kCopies];
  int offset_[kCopies];  // of this tap's position, from `from_`
  uint32_t inside_;      // a bit a copy: whether that position exists
};

// Copies rows of w, in the same order of tiles.
template <class T, class Tile>
class FilterCopier {
 public:
  __device__ __forceinline__ FilterCopier(const ConvArguments<T>& p, int first_row,
                                          const TapPlace& first)
      : p_(p), channel_(first.channel) {
    const ConvShape& s = p.shape;
    const int row = ThreadIndex().x / Tile::kRowChunks, chunk = ThreadIndex().x % Tile::kRowChunks;
    const int row_numbers = s.kernel * s.kernel * s.channels;
    target_ = Tile::At(row, chunk);
    channels_ = s.channels - chunk * kChunk;
    step_ = Tile::kRowsAtOnce * row_numbers;
    const int rows_left = s.out_channels - first_row - row;
    from_ = GlobalPtr(p.w) + (int64_t{first_row + (rows_left > 0 ? row : 0)} * row_numbers +
                              first.index * s.channels + first.channel + chunk * kChunk);
    exists_ = 0;
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      exists_ |= (i * Tile::kRowsAtOnce < rows_left ? 1u : 0u) << i;
    }
  }

  __device__ __forceinline__ void operator()(SharedPtr<T> tile) {
    const uint32_t exists = channel_ < channels_ ? exists_ : 0;
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      CopyAsync16(tile + (target_ + i * Tile::kRowsAtOnce * Tile::kK), from_ + i * step_,
                  (exists >> i & 1) != 0);
    }
    const int left = p_.shape.channels - channel_;  // of the tap
    from_ = from_ + (left < Tile::kK ? left : Tile::kK);
    channel_ = left <= Tile::kK ? 0 : channel_ + Tile::kK;
  }

 private:
  static constexpr int kCopies = Tile::kN / Tile::kRowsAtOnce;

  const ConvArguments<T>& p_;
  int channel_, target_, channels_;
  GlobalPtr<const T> from_;
  int step_;         // from a copy to the next
  uint32_t exists_;  // a bit a copy: whether its row is one of w's
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
  products.Run(range.end - range.begin, patches, filters);
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

// What 32 bits can say from a tile's first sample on.
constexpr int64_t kMostPictureNumbers = int64_t{1} << 30;

template <class T>
bool Fits(const ConvArguments<T>& p) {
  const auto aligned = [](const void* at) {
    return reinterpret_cast<uintptr_t>(at) % kChunkBytes == 0;
  };
  const ConvShape& s = p.shape;
  return s.batch > 0 && s.height > 0 && s.width > 0 && s.channels > 0 && s.out_height > 0 &&
         s.out_width > 0 && s.out_channels > 0 && (s.kernel == 1 || s.kernel == 3) &&
         (s.stride == 1 || s.stride == 2) && s.channels % kChunk == 0 && p.x_stride % kChunk == 0 &&
         aligned(p.x) && aligned(p.w) && RowsOf(s) < int64_t{1} << 31 &&
         s.out_height * s.stride <= kMostSide && s.out_width * s.stride <= kMostSide &&
         s.height << (s.upsample ? 1 : 0) <= kMostSide &&
         int64_t{s.height} * s.width * p.x_stride < kMostPictureNumbers &&
         int64_t{s.out_channels} * s.kernel * s.kernel * s.channels < kMostPictureNumbers;
}

}  // namespace

template <class T>
cudaError_t Conv(cudaStream_t stream, const ConvArguments<T>& p) {
  if (p.split.count > 1 && (p.shape.channels % kSplitUnit != 0 || p.split.partials == nullptr)) {
    return cudaErrorInvalidValue;
  }
  if (!Fits(p)) return cudaErrorInvalidValue;
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
