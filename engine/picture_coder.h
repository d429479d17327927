// Pictures to latents and back, through the compiled graphs of a model's VAE.
#pragma once

#include <list>
#include <memory>
#include <span>
#include <vector>

#include "engine/model_impl.h"
#include "engine/tiled_decoder.h"

namespace tiltshift::engine {

// Owns the programs of the sizes it last worked at. Used by one thread.
class PictureCoder {
 public:
  // `model` must outlive it.
  explicit PictureCoder(const Model::Impl& model);
  ~PictureCoder();

  // `latent`, planar, as the UNet leaves it -> the picture [height, width, 3] in about -1..1.
  absl::Status Decode(LatentSize size, std::span<const float> latent, std::span<float> picture,
                      Tiling tiling = Tiling::kAuto);

  // `photo`, planar [3, height, width] in -1..1 -> what the encoder says of its latent: its means
  // and, where MomentFloats is twice a latent, the logarithms of its variances. FailedPrecondition:
  // the model has no encoder.
  absl::Status Encode(LatentSize size, std::span<const float> photo, std::vector<float>* moments,
                      Tiling tiling = Tiling::kAuto);

  // The latent as the UNet takes it: a sample of those moments by `noise`, standard normal and as
  // large as a latent, or, where there are no variances, the means.
  std::vector<float> Sampled(std::span<const float> moments, std::span<const float> noise) const;

  absl::StatusOr<Program*> DecodeProgram(LatentSize size);  // for benches and profiles

  // The next call compiles anew: for when the thread's OpenMP threads have changed.
  void DropPrograms();

 private:
  struct Decoder;
  struct Encoder;
  std::vector<float> Scaled(std::span<const float> latent) const;
  absl::StatusOr<Decoder*> DecoderFor(LatentSize size);
  absl::StatusOr<Encoder*> EncoderFor(LatentSize size);
  // In cells: half a side where tiles are asked for a picture that needs none.
  int TileOf(LatentSize size) const;
  absl::Status DecodeInTiles(LatentSize size, std::span<const float> latent,
                             std::span<float> picture) const;

  const Model::Impl& model_;
  std::list<std::unique_ptr<Decoder>> decoders_;  // most recently used first
  std::list<std::unique_ptr<Encoder>> encoders_;  // the same
};

}  // namespace tiltshift::engine
