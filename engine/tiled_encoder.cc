#include "engine/tiled_encoder.h"

#include <algorithm>

namespace tiltshift::engine {

TiledEncoder::TiledEncoder(const Model::Impl& model, LatentSize size, int tile)
    : model_(model), size_(size) {
  tile = std::max(tile, 2 * model.vae->encoder_halo() + 8);
  tile_ = {std::min(tile, size.height), std::min(tile, size.width)};
  const int scale = model.config.vae.scale();
  const Shape part = {tile_.height * scale, tile_.width * scale, 0};
  measured_ = model.vae->BuildEncodeLevels(part, Norms::kMeasured);
  given_ = model.vae->BuildEncodeLevels(part, Norms::kGiven);
  end_ = model.vae->BuildEncodeEnd({size.height, size.width, 0});
}

std::span<const float> TiledEncoder::Cut(std::span<const float> photo, const TileCut& y,
                                         const TileCut& x) {
  const int64_t scale = model_.config.vae.scale(), rows = size_.height * scale,
                columns = size_.width * scale, part_rows = tile_.height * scale,
                part_columns = tile_.width * scale;
  for (int64_t c = 0; c < 3; ++c) {
    for (int64_t h = 0; h < part_rows; ++h) {
      const float* from =
          photo.data() + (c * rows + y.first * scale + h) * columns + x.first * scale;
      std::copy_n(from, part_columns, part_.data() + (c * part_rows + h) * part_columns);
    }
  }
  return part_;
}

void TiledEncoder::Keep(const TileCut& y, const TileCut& x) {
  const int64_t channels = given_.features.shape.channels, count = (x.keep_end - x.keep) * channels;
  for (int64_t h = y.keep; h < y.keep_end; ++h) {
    const int64_t at = (h - y.first) * tile_.width + x.keep - x.first;
    std::copy_n(tile_features_.data() + at * channels, count,
                features_.data() + (h * size_.width + x.keep) * channels);
  }
}

absl::Status TiledEncoder::Encode(std::span<const float> photo, std::vector<float>* moments) {
  part_.resize(given_.photo.shape.size());
  tile_features_.resize(given_.features.shape.size());
  features_.resize(end_.features.shape.size());
  const TiledRun run = {
      .measured = {measured_.graph, measured_.photo},
      .given = {given_.graph, given_.photo},
      .size = size_,
      .tile = tile_,
      .halo = model_.vae->encoder_halo(),
      .cut = [&](const TileCut& y, const TileCut& x) { return Cut(photo, y, x); },
      .keep =
          [&](const Program& program, const TileCut& y, const TileCut& x) {
            program.Read(given_.features, tile_features_);
            Keep(y, x);
          },
  };
  TS_RETURN_IF_ERROR(RunInTiles(*model_.backend, model_.compute, run));
  TS_ASSIGN_OR_RETURN(const auto end, model_.backend->Compile(end_.graph, model_.compute));
  end->Write(end_.features, features_);
  end->Run();
  moments->resize(end_.moments.shape.size());
  end->Read(end_.moments, *moments);
  return model_.backend->health();
}

}  // namespace tiltshift::engine
