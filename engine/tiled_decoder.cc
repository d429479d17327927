#include "engine/tiled_decoder.h"

#include <algorithm>

namespace tiltshift::engine {

TiledDecoder::TiledDecoder(const Model::Impl& model, LatentSize size, int tile)
    : model_(model), size_(size) {
  tile = std::max(tile, 2 * model.vae->halo() + 8);
  tile_ = {std::min(tile, size.height), std::min(tile, size.width)};
  const Shape part = {tile_.height, tile_.width, 0};
  head_ = model.vae->BuildHead({size.height, size.width, 0});
  measured_ = model.vae->BuildTail(part, Norms::kMeasured);
  given_ = model.vae->BuildTail(part, Norms::kGiven);
}

std::span<const float> TiledDecoder::Cut(const TileCut& y, const TileCut& x) {
  const int64_t channels = head_.features.shape.channels;
  for (int64_t h = 0; h < tile_.height; ++h) {
    const float* from = features_.data() + ((y.first + h) * size_.width + x.first) * channels;
    std::copy_n(from, tile_.width * channels, part_.data() + h * tile_.width * channels);
  }
  return part_;
}

void TiledDecoder::Keep(const TileCut& y, const TileCut& x, std::span<float> picture) const {
  const int64_t scale = model_.config.vae.scale(), channels = given_.picture.shape.channels;
  const int64_t count = (x.keep_end - x.keep) * scale * channels;
  for (int64_t h = y.keep * scale; h < y.keep_end * scale; ++h) {
    const int64_t row = h - y.first * scale;
    const float* pixels =
        pixels_.data() + (row * tile_.width + x.keep - x.first) * scale * channels;
    float* to = picture.data() + (h * size_.width + x.keep) * scale * channels;
    for (int64_t i = 0; i < count; ++i) to[i] = pixels[i] * given_.range + given_.shift;
  }
}

absl::Status TiledDecoder::Decode(std::span<const float> latent, std::span<float> picture) {
  features_.resize(head_.features.shape.size());
  part_.resize(given_.latent.shape.size());
  pixels_.resize(given_.picture.shape.size());
  {
    TS_ASSIGN_OR_RETURN(const auto head, model_.backend->Compile(head_.graph, model_.compute));
    head->Write(head_.latent, latent);
    head->Run();
    head->Read(head_.features, features_);
  }
  const TiledRun run = {
      .measured = {measured_.graph, measured_.latent},
      .given = {given_.graph, given_.latent},
      .size = size_,
      .tile = tile_,
      .halo = model_.vae->halo(),
      .cut = [&](const TileCut& y, const TileCut& x) { return Cut(y, x); },
      .keep =
          [&](const Program& program, const TileCut& y, const TileCut& x) {
            program.Read(given_.picture, pixels_);
            Keep(y, x, picture);
          },
  };
  TS_RETURN_IF_ERROR(RunInTiles(*model_.backend, model_.compute, run));
  return model_.backend->health();
}

}  // namespace tiltshift::engine
