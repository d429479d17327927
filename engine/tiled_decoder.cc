#include "engine/tiled_decoder.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace tiltshift::engine {

// As many as cover the side, evenly, each with a halo on both sides where the picture goes on.
std::vector<TiledDecoder::Cut> TiledDecoder::CutsOf(int cells, int tile, int halo) {
  if (tile >= cells) return {{0, 0, cells}};
  const int most = tile - 2 * halo;  // kept of a tile
  TS_CHECK(most > 0);
  const int count = (cells + most - 1) / most;
  std::vector<Cut> cuts;
  for (int i = 0; i < count; ++i) {
    const int keep = i * cells / count, end = (i + 1) * cells / count;
    cuts.push_back({std::clamp(keep - halo, 0, cells - tile), keep, end});
  }
  return cuts;
}

// For measuring: next to each other, the last one drawn back onto the picture.
std::vector<TiledDecoder::Cut> TiledDecoder::ApartOf(int cells, int tile) {
  std::vector<Cut> cuts;
  for (int at = 0; at < cells; at += tile) cuts.push_back({std::min(at, cells - tile), 0, 0});
  return cuts;
}

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

void TiledDecoder::WriteTile(Program& program, const Vae::DecodeGraph& graph, const Cut& y,
                             const Cut& x) {
  const int64_t channels = head_.features.shape.channels;
  for (int64_t h = 0; h < tile_.height; ++h) {
    const float* from = features_.data() + ((y.first + h) * size_.width + x.first) * channels;
    std::copy_n(from, tile_.width * channels, part_.data() + h * tile_.width * channels);
  }
  program.Write(graph.latent, part_);
}

void TiledDecoder::MeasureMoments(Program& program, const Vae::DecodeGraph& graph) {
  const std::vector<Value>& rows = graph.graph.measured_moments();
  moments_.assign(rows.size(), {});
  std::vector<float> row;
  const std::vector<Cut> ys = ApartOf(size_.height, tile_.height),
                         xs = ApartOf(size_.width, tile_.width);
  const float share = 1.0f / static_cast<float>(ys.size() * xs.size());
  for (const Cut& y : ys) {
    for (const Cut& x : xs) {
      WriteTile(program, graph, y, x);
      program.Run();
      for (size_t i = 0; i < rows.size(); ++i) {
        row.resize(rows[i].shape.size());
        moments_[i].resize(row.size());
        program.Read(rows[i], row);
        for (size_t j = 0; j < row.size(); ++j) moments_[i][j] += row[j] * share;
      }
    }
  }
}

void TiledDecoder::GiveMoments(Program& program) const {
  const std::vector<Value>& rows = given_.graph.given_moments();
  for (size_t i = 0; i < rows.size(); ++i) program.Write(rows[i], moments_[i]);
}

void TiledDecoder::KeepPart(const Cut& y, const Cut& x, std::span<float> picture) const {
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
  const bool has_norms = !measured_.graph.measured_moments().empty();
  if (has_norms) {
    TS_ASSIGN_OR_RETURN(const auto measured, Compile(measured_.graph));
    MeasureMoments(*measured, measured_);
  }
  TS_ASSIGN_OR_RETURN(const auto given, Compile(given_.graph));
  if (has_norms) {
    GiveMoments(*given);
    MeasureMoments(*given, given_);
    GiveMoments(*given);
  }
  const int halo = model_.vae->halo();
  for (const Cut& y : CutsOf(size_.height, tile_.height, halo)) {
    for (const Cut& x : CutsOf(size_.width, tile_.width, halo)) {
      WriteTile(*given, given_, y, x);
      given->Run();
      given->Read(given_.picture, pixels_);
      KeepPart(y, x, picture);
    }
  }
  return model_.backend->health();
}

}  // namespace tiltshift::engine
