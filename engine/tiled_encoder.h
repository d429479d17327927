// A photo encoded tile by tile, in the memory that one tile takes: tiled_decoder.h with the roles
// of picture and latent exchanged. The levels, which halve the photo, run over tiles; what looks at
// all of the latent at once runs on what they leave, as a whole.
#pragma once

#include <span>
#include <vector>

#include "engine/model_impl.h"
#include "engine/tiles.h"

namespace tiltshift::engine {

class TiledEncoder {
 public:
  // For photos of that size, in tiles of at most `tile` cells a side, or few more than two halos.
  // `model`, which has an encoder, must outlive it.
  TiledEncoder(const Model::Impl& model, LatentSize size, int tile);

  // As PictureCoder::Encode.
  absl::Status Encode(std::span<const float> photo, std::vector<float>* moments);

 private:
  std::span<const float> Cut(std::span<const float> photo, const TileCut& y, const TileCut& x);
  void Keep(const TileCut& y, const TileCut& x);

  const Model::Impl& model_;
  LatentSize size_, tile_;
  Vae::EncodeLevelsGraph measured_, given_;
  Vae::EncodeEndGraph end_;
  std::vector<float> part_, tile_features_, features_;
};

}  // namespace tiltshift::engine
