#include "engine/tiled_decoder.h"

#include <algorithm>

namespace tiltshift::engine {

TiledDecoder::TiledDecoder(const Model::Impl& model, LatentSize size, int tile)
    : model_(model), size_(size) {
  const int least = 2 * model.vae->halo() + 8;
  tile = std::max(tile, least);
  tile_ = {std::min(tile, size.height), std::min(tile, size.width)};
  const Shape part = {tile_.height, tile_.width, 0};
  head_ = model.vae->BuildHead({size.height, size.width, 0});
  measured_ = model.vae->BuildTail(part, Norms::kMeasured);
  given_ = model.vae->BuildTail(part, Norms::kGiven);
}

absl::StatusOr<std::unique_ptr<Program>> TiledDecoder::Compile(const Graph& graph) const {
  return model_.backend->Compile(graph, model_.compute);
}

void TiledDecoder::WriteTile(Program& program, const Vae::DecodeGraph& graph, const TileCut& y,
                             const TileCut& x) {
  const int64_t channels = head_.features.shape.channels;
  for (int64_t h = 0; h < tile_.height; ++h) {
    const float* from = features_.data() + ((y.first + h) * size_.width + x.first) * channels;
    std::copy_n(from, tile_.width * channels, part_.data() + h * tile_.width * channels);
  }
  program.Write(graph.latent, part_);
}

void TiledDecoder::Measure(Program& program, const Vae::DecodeGraph& graph, TileMoments& moments) {
  moments.Measure(program, graph.graph.measured_moments(), size_, tile_,
                  [&](const TileCut& y, const TileCut& x) { WriteTile(program, graph, y, x); });
}

void TiledDecoder::KeepPart(const TileCut& y, const TileCut& x, std::span<float> picture) const {
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
    TS_ASSIGN_OR_RETURN(const auto head, Compile(head_.graph));
    head->Write(head_.latent, latent);
    head->Run();
    head->Read(head_.features, features_);
  }
  TileMoments moments;
  const bool has_norms = !measured_.graph.measured_moments().empty();
  if (has_norms) {
    TS_ASSIGN_OR_RETURN(const auto measured, Compile(measured_.graph));
    Measure(*measured, measured_, moments);
  }
  TS_ASSIGN_OR_RETURN(const auto given, Compile(given_.graph));
  if (has_norms) {
    moments.Give(*given, given_.graph.given_moments());
    Measure(*given, given_, moments);
    moments.Give(*given, given_.graph.given_moments());
  }
  const int halo = model_.vae->halo();
  for (const TileCut& y : CutsOf(size_.height, tile_.height, halo)) {
    for (const TileCut& x : CutsOf(size_.width, tile_.width, halo)) {
      WriteTile(*given, given_, y, x);
      given->Run();
      given->Read(given_.picture, pixels_);
      KeepPart(y, x, picture);
    }
  }
  return model_.backend->health();
}

}  // namespace tiltshift::engine
