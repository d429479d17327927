// A picture decoded tile by tile, in the memory that one tile takes, without seams.
//
// A tile differs in two ways from that part of the whole: at its edges, where it lacks its
// surroundings, and in its group norms, which see the tile alone. So tiles overlap by what the
// convolutions reach (Vae::halo), and only what is right is kept; and all tiles are normalised by
// the same moments. A first pass, in which each tile takes its own, measures them; a second, in
// which all take the mean of those, measures them better. Nothing is blended: neighbours agree
// where they meet, because every pixel is the same function of its surroundings. What is left
// against the whole decode is how far those moments are from the whole's, a change of tone over all
// of the picture (tiled_decoder_test: 1.2 steps of 255 in the mean for a hard picture in four
// tiles, 0.4 for a photo).
//
// Costs twice the picture for the measuring, and once with the overlaps for the picture.
#pragma once

#include <span>
#include <vector>

#include "engine/model_impl.h"
#include "engine/tiles.h"

namespace tiltshift::engine {

class TiledDecoder {
 public:
  // For pictures of that size, in tiles of at most `tile` cells a side, or few more than two halos.
  // `model` must outlive it.
  TiledDecoder(const Model::Impl& model, LatentSize size, int tile);

  // As PictureCoder::Decode.
  absl::Status Decode(std::span<const float> latent, std::span<float> picture);

 private:
  std::span<const float> Cut(const TileCut& y, const TileCut& x);
  void Keep(const TileCut& y, const TileCut& x, std::span<float> picture) const;

  const Model::Impl& model_;
  LatentSize size_, tile_;
  Vae::HeadGraph head_;
  Vae::DecodeGraph measured_, given_;
  std::vector<float> features_, part_, pixels_;
};

}  // namespace tiltshift::engine
