// The code of prologue.h for tiles that cp.async brings: it cannot change what it copies, so the
// numbers are changed where they lie.
//
// A thread changes the chunks that it copied itself, when its own copies have landed
// (WaitCopies) and before the barrier that shows them to the others: no barrier more. A chunk is 16
// bytes loaded, 8 numbers changed and 16 bytes stored, once a tile of k, free of bank conflicts as
// the copies are. Registers are taken between two steps only.
#pragma once

#include "kernels/conv_patch.cuh"
#include "kernels/prologue.h"
#include "kernels/vector.cuh"

namespace tiltshift::kernels {

// The factors and summands of eight channels of a sample.
struct ChunkAffine {
  float factor[kChunk], summand[kChunk];

  __device__ __forceinline__ void LoadFrom(GlobalPtr<const float> affine, int channels) {
    LoadFloats(affine, factor);
    LoadFloats(affine + channels, summand);
  }

  // As GroupNorm's last kernel does it.
  template <class T>
  __device__ __forceinline__ Words4 Changed(const Words4& words, bool silu) const {
    float value[kChunk];
    Unpack<T>(words, value);
#pragma unroll
    for (int c = 0; c < kChunk; ++c) value[c] = value[c] * factor[c] + summand[c];
    if (silu) {
#pragma unroll
      for (int c = 0; c < kChunk; ++c) value[c] = Silu(value[c]);
    }
    return Pack<T>(value);
  }
};

// A PatchCopier that changes what it copied when it has landed: Products::Run calls it for every
// tile of k in the order of the copies.
template <class T, class Tile>
class PatchChanger : public PatchCopier<T, Tile, true> {
  using Base = PatchCopier<T, Tile, true>;

 public:
  __device__ __forceinline__ PatchChanger(const ConvArguments<T>& p, int first_row,
                                          const TapPlace& first)
      : Base(p, first_row, first), p_(p) {
    const int sample_rows = p.shape.out_height * p.shape.out_width;
    const int first_sample = first_row / sample_rows;
    affine_ = 2 * first_sample * p.shape.channels;
    row_ = first_row - first_sample * sample_rows;
  }

  __device__ __forceinline__ void operator()(SharedPtr<T> tile) {
    under_way_ = under_way_ << kCopies | Base::Inside();
    Base::operator()(tile);
  }

  __device__ __forceinline__ void Land(SharedPtr<T> tile, int behind) {
    const uint32_t inside = under_way_ >> behind * kCopies;
    const int channels = p_.shape.channels;
    // That of the tile copied next, as many tiles back as lie between.
    int channel = Base::next_channel() - (behind + 1) * Tile::kK;
    while (channel < 0) channel += (channels + Tile::kK - 1) / Tile::kK * Tile::kK;
    const int chunk_channel = channel + ThreadIndex().x % Tile::kRowChunks * kChunk;
    // Behind the last channel there are zeros, which stay.
    const GlobalPtr<const float> affine =
        GlobalPtr(p_.prologue.affine) + (affine_ + (chunk_channel < channels ? chunk_channel : 0));
    ChunkAffine change;
    change.LoadFrom(affine, channels);
    const bool one_sample = row_ + Tile::kM <= p_.shape.out_height * p_.shape.out_width;
#pragma unroll 2  // registers are few here
    for (int i = 0; i < kCopies; ++i) {
      if (!one_sample) change.LoadFrom(affine + 2 * SampleOf(i) * channels, channels);
      const SharedPtr<T> at = Base::TargetOf(tile, i);
      const Words4 words = Load<Words4>(at);
      Store(at, (inside >> i & 1) != 0 ? change.Changed<T>(words, p_.prologue.silu) : words);
    }
  }

 private:
  static constexpr int kCopies = Base::kCopies;
  static_assert(kCopies * (Tile::kStages - 1) <= 32);

  // The sample under a copy, from the block's first on. Behind the last there are zeros, which
  // stay.
  __device__ __forceinline__ int SampleOf(int copy) const {
    const int row = row_ + ThreadIndex().x / Tile::kRowChunks + copy * Tile::kRowsAtOnce;
    const int sample = row / (p_.shape.out_height * p_.shape.out_width);
    const int last = p_.shape.batch - 1 - affine_ / (2 * p_.shape.channels);
    return sample < last ? sample : last;
  }

  const ConvArguments<T>& p_;
  uint32_t under_way_ = 0;  // Inside() of the tiles that were copied last, the latest lowest
  int row_;                 // the block's first, in its sample
  int affine_;              // where those of the block's first sample lie
};

}  // namespace tiltshift::kernels
