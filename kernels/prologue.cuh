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
class PatchChanger : public PatchCopier<T, Tile> {
  using Base = PatchCopier<T, Tile>;

 public:
  __device__ __forceinline__ PatchChanger(const ConvArguments<T>& p, int first_row,
                                          const TapPlace& first)
      : Base(p, first_row, first), p_(p), channel_(first.channel) {
    const int first_sample = first_row / (p.shape.out_height * p.shape.out_width);
    affine_ = 2 * first_sample * p.shape.channels;
  }

  __device__ __forceinline__ void operator()(SharedPtr<T> tile) {
    under_way_ = under_way_ << kCopies | Base::Inside();
    Base::operator()(tile);
  }

  __device__ __forceinline__ void Land(SharedPtr<T> tile, int behind) {
    const uint32_t inside = under_way_ >> behind * kCopies;
    const int channels = p_.shape.channels;
    const int chunk_channel = channel_ + ThreadIndex().x % Tile::kRowChunks * kChunk;
    // Behind the last channel there are zeros, which stay.
    const GlobalPtr<const float> affine =
        GlobalPtr(p_.prologue.affine) + (affine_ + (chunk_channel < channels ? chunk_channel : 0));
    ChunkAffine change;
    int sample = Base::SampleOf(0);
    change.LoadFrom(affine + 2 * sample * channels, channels);
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      if (Base::SampleOf(i) != sample) {
        sample = Base::SampleOf(i);
        change.LoadFrom(affine + 2 * sample * channels, channels);
      }
      const SharedPtr<T> at = Base::TargetOf(tile, i);
      const Words4 words = Load<Words4>(at);
      Store(at, (inside >> i & 1) != 0 ? change.Changed<T>(words, p_.prologue.silu) : words);
    }
    channel_ = channel_ + Tile::kK < channels ? channel_ + Tile::kK : 0;
  }

 private:
  static constexpr int kCopies = Base::kCopies;
  static_assert(kCopies * (Tile::kStages - 1) <= 32);

  const ConvArguments<T>& p_;
  int channel_;             // of the tile that lands next
  uint32_t under_way_ = 0;  // Inside() of the tiles that were copied last, the latest lowest
  int affine_;              // where those of the block's first sample lie
};

}  // namespace tiltshift::kernels
