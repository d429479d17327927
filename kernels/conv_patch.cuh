// What a convolution's blocks copy into a stage: positions of x under a tap, and rows of filters.
//
// A tile of k lies within one tap: where the channels are no multiple of it, a tap's last tile is
// filled with zeros. Both walk the same tiles: taps upwards, channels upwards within a tap.
#pragma once

#include "kernels/conv.h"
#include "kernels/device.h"

namespace tiltshift::kernels {

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
      const bool exists = sample < s.batch;
      const int y = exists ? (line - sample * s.out_height) * s.stride : kMostSide;
      const int x = (row - line * s.out_width) * s.stride;
      corner_[i] = static_cast<uint32_t>(exists ? sample - first_sample : 0) << 24 | y << 12 | x;
    }
    FindPositions();
  }

  __device__ __forceinline__ void operator()(SharedPtr<T> tile) {
    const GlobalPtr<const T> from = from_ + place_.channel;
    const uint32_t inside = Inside();
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      CopyAsync16(TargetOf(tile, i), from + offset_[i], (inside >> i & 1) != 0);
    }
    if (place_.Advance(Tile::kK, p_.shape)) FindPositions();
  }

 protected:
  static constexpr int kCopies = Tile::kM / Tile::kRowsAtOnce;

  // A bit a copy of the tile that is copied next: whether it brings numbers of x, not zeros.
  __device__ __forceinline__ uint32_t Inside() const {
    return place_.channel < channels_ ? inside_ : 0;
  }
  // Where a copy of this thread lies in a tile.
  __device__ __forceinline__ SharedPtr<T> TargetOf(SharedPtr<T> tile, int copy) const {
    return tile + (target_ + copy * Tile::kRowsAtOnce * Tile::kK);
  }
  // The sample under a copy, from the tile's first on.
  __device__ __forceinline__ int SampleOf(int copy) const {
    return static_cast<int>(corner_[copy] >> 24);
  }

 private:
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

}  // namespace tiltshift::kernels
