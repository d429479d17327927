// What a convolution's blocks copy into a stage: positions of x under a tap, and rows of filters.
//
// A tile of k lies within one tap: where the channels are no multiple of it, a tap's last tile is
// filled with zeros. Both walk the same tiles: taps upwards, channels upwards within a tap.
#pragma once

#include "kernels/conv.h"
#include "kernels/device.h"

namespace tiltshift::kernels {

// The tile of k that is copied next: a tap and its first channel.
struct TapPlace {
  int row, column, index, channel;

  __device__ __forceinline__ TapPlace(int tap, int first_channel, const ConvShape& shape)
      : row(tap / shape.kernel), column(tap % shape.kernel), index(tap), channel(first_channel) {}

  __device__ __forceinline__ void Advance(int step, const ConvShape& shape) {
    channel += step;
    if (channel < shape.channels) return;
    channel = 0;
    ++index;
    if (++column == shape.kernel) {
      column = 0;
      ++row;
    }
  }
};

// Copies the positions of x under the rows of a tile, tile of k after tile of k.
//
// Where a row's first tap lies, and which taps lie inside the picture, is worked out once; a tap
// further is the same distance further for all rows. In an enlarged picture, whose position t shows
// x's t / 2, a step from an odd position moves on in x and one from an even position does not; code
// that knows of no enlarging is a fifth shorter.
template <class T, class Tile, bool kMayEnlarge>
class PatchCopier {
 public:
  __device__ __forceinline__ PatchCopier(const ConvArguments<T>& p, int first_row,
                                         const TapPlace& first)
      : p_(p),
        place_(first),
        target_(Tile::At(ThreadIndex().x / Tile::kRowChunks, ThreadIndex().x % Tile::kRowChunks)),
        rows_(0),
        columns_(0) {
    const ConvShape& s = p.shape;
    const int shift = kMayEnlarge && s.upsample ? 1 : 0;
    const unsigned height = s.height << shift, width = s.width << shift;
    const int sample_rows = s.out_height * s.out_width, first_sample = first_row / sample_rows;
    const int chunk = ThreadIndex().x % Tile::kRowChunks;
    channels_ = s.channels - chunk * kChunk;
    from_ =
        GlobalPtr(p.x) + (int64_t{first_sample} * s.height * s.width * p.x_stride + chunk * kChunk);
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      const int row = first_row + ThreadIndex().x / Tile::kRowChunks + i * Tile::kRowsAtOnce;
      const int line = row / s.out_width, sample = line / s.out_height;
      const int y = (line - sample * s.out_height) * s.stride - s.pad;
      const int x = (row - line * s.out_width) * s.stride - s.pad;
      const int position =
          ((sample - first_sample) * s.height + (y >> shift)) * s.width + (x >> shift);
      offset_[i] = position * static_cast<int>(p.x_stride);
#pragma unroll
      for (int tap = 0; tap < kMostTaps; ++tap) {
        // Below 0 is far above.
        const bool in_height = static_cast<unsigned>(y + tap) < height && sample < s.batch;
        const bool in_width = static_cast<unsigned>(x + tap) < width;
        rows_ |= (in_height ? 1u : 0u) << (tap * kCopies + i);
        columns_ |= (in_width ? 1u : 0u) << (tap * kCopies + i);
      }
      rows_ |= (y & 1u) << (kOddBits + i);
      columns_ |= (x & 1u) << (kOddBits + i);
    }
  }

  __device__ __forceinline__ void operator()(SharedPtr<T> tile) {
    const ConvShape& s = p_.shape;
    const int stride = static_cast<int>(p_.x_stride), shift = kMayEnlarge && s.upsample ? 1 : 0;
    const int steps = (place_.row >> shift) * s.width + (place_.column >> shift);
    const GlobalPtr<const T> from = from_ + (steps * stride + place_.channel);
    const uint32_t inside = Inside();
    const uint32_t down = (place_.row & shift) != 0 ? rows_ >> kOddBits : 0;
    const uint32_t right = (place_.column & shift) != 0 ? columns_ >> kOddBits : 0;
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      int offset = offset_[i];
      if constexpr (kMayEnlarge) {
        if ((down >> i & 1) != 0) offset += s.width * stride;
        if ((right >> i & 1) != 0) offset += stride;
      }
      CopyAsync16(TargetOf(tile, i), from + offset, (inside >> i & 1) != 0);
    }
    place_.Advance(Tile::kK, s);
  }

 protected:
  static constexpr int kCopies = Tile::kM / Tile::kRowsAtOnce;
  static constexpr int kMostTaps = 3;  // of a row, and of a column
  static constexpr int kOddBits = kMostTaps * kCopies;
  static_assert(kOddBits + kCopies <= 32);

  // A bit a copy of the tile that is copied next: whether it brings numbers of x, not zeros.
  __device__ __forceinline__ uint32_t Inside() const {
    if (place_.channel >= channels_) return 0;
    return rows_ >> place_.row * kCopies & columns_ >> place_.column * kCopies &
           ((1u << kCopies) - 1);
  }
  __device__ __forceinline__ int next_channel() const { return place_.channel; }
  // Where a copy of this thread lies in a tile.
  __device__ __forceinline__ SharedPtr<T> TargetOf(SharedPtr<T> tile, int copy) const {
    return tile + (target_ + copy * Tile::kRowsAtOnce * Tile::kK);
  }

 private:
  const ConvArguments<T>& p_;
  TapPlace place_;
  int target_, channels_;
  GlobalPtr<const T> from_;  // the tile's first sample
  int offset_[kCopies];      // of a row's first tap, from there
  // A bit a copy and tap: whether a row of taps lies inside, and a column of them. Then one a copy:
  // whether the first lies at an odd position.
  uint32_t rows_, columns_;
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

}  // namespace tiltshift::kernels
