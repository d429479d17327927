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

void TiledEncoder::WriteTile(Program& program, const Vae::EncodeLevelsGraph& graph,
                             std::span<const float> photo, const TileCut& y, const TileCut& x) {
  const int64_t scale = model_.config.vae.scale(), rows = size_.height * scale, columns = size_.width * scale,
                part_rows = tile_.height * scale, part_columns = tile_.width * scale;
  for (int64_t c = 0; c < 3; ++c) {
    for (int64_t h = 0; h < part_rows; ++h) {
      const float* from = photo.data() + (c * rows + y.first * scale + h) * columns + x.first * scale;
      std::copy_n(from, part_columns, part_.data() + (c * part_rows + h) * part_columns);
    }
  }
  program.Write(graph.photo, part_);
}

void TiledEncoder::KeepPart(const TileCut& y, const TileCut& x) {
  const int64_t channels = given_.features.shape.channels, count = (x.keep_end - x.keep) * channels;
  for (int64_t h = y.keep; h < y.keep_end; ++h) {
    const float* from = tile_features_.data() + ((h - y.first) * tile_.width + x.keep - x.first) * channels;
    std::copy_n(from, count, features_.data() + (h * size_.width + x.keep) * channels);
  }
}

absl::Status TiledEncoder::RunLevels(std::span<const float> photo) {
  TileMoments moments;
  const auto measure = [&](Program& program, const Vae::EncodeLevelsGraph& graph) {
    moments.Measure(program, graph.graph.measured_moments(), size_, tile_,
                    [&](const TileCut& y, const TileCut& x) { WriteTile(program, graph, photo, y, x); });
  };
  const bool has_norms = !measured_.graph.measured_moments().empty();
  if (has_norms) {
    TS_ASSIGN_OR_RETURN(const auto measured, model_.backend->Compile(measured_.graph, model_.compute));
    measure(*measured, measured_);
  }
  TS_ASSIGN_OR_RETURN(const auto given, model_.backend->Compile(given_.graph, model_.compute));
  if (has_norms) {
    moments.Give(*given, given_.graph.given_moments());
    measure(*given, given_);
    moments.Give(*given, given_.graph.given_moments());
  }
  const int halo = model_.vae->encoder_halo();
  for (const TileCut& y : CutsOf(size_.height, tile_.height, halo)) {
    for (const TileCut& x : CutsOf(size_.width, tile_.width, halo)) {
      WriteTile(*given, given_, photo, y, x);
      given->Run();
      given->Read(given_.features, tile_features_);
      KeepPart(y, x);
    }
  }
  return absl::OkStatus();
}

absl::Status TiledEncoder::Encode(std::span<const float> photo, std::vector<float>* moments) {
  part_.resize(given_.photo.shape.size());
  tile_features_.resize(given_.features.shape.size());
  features_.resize(end_.features.shape.size());
  TS_RETURN_IF_ERROR(RunLevels(photo));
  TS_ASSIGN_OR_RETURN(const auto end, model_.backend->Compile(end_.graph, model_.compute));
  end->Write(end_.features, features_);
  end->Run();
  moments->resize(end_.moments.shape.size());
  end->Read(end_.moments, *moments);
  return model_.backend->health();
}

}  // namespace tiltshift::engine
