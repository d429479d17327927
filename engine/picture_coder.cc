#include "engine/picture_coder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "engine/recently_used.h"
#include "engine/tiled_encoder.h"

namespace tiltshift::engine {
namespace {

constexpr size_t kSizesKept = 2;

// A tile of the largest picture that is decoded whole: so no picture takes more memory than that
// one.
constexpr int kWholePixels = 1024;

bool InTiles(Tiling tiling, LatentSize size, int scale) {
  if (tiling != Tiling::kAuto) return tiling == Tiling::kTiles;
  return int64_t{size.height} * size.width * scale * scale > int64_t{kWholePixels} * kWholePixels;
}

}  // namespace

struct PictureCoder::Decoder {
  LatentSize size;
  Vae::DecodeGraph graph;
  std::unique_ptr<Program> program;
};

struct PictureCoder::Encoder {
  LatentSize size;
  Vae::EncodeGraph graph;
  std::unique_ptr<Program> program;
};

PictureCoder::PictureCoder(const Model::Impl& model) : model_(model) {}
PictureCoder::~PictureCoder() = default;

void PictureCoder::DropPrograms() {
  decoders_.clear();
  encoders_.clear();
}

absl::StatusOr<PictureCoder::Decoder*> PictureCoder::DecoderFor(LatentSize size) {
  auto* known = MoveToFront(decoders_, [&](const auto& decoder) { return decoder->size == size; });
  if (known != nullptr) return known->get();
  auto decoder = std::make_unique<Decoder>();
  decoder->size = size;
  decoder->graph = model_.vae->BuildDecode({size.height, size.width, 0});
  TS_ASSIGN_OR_RETURN(decoder->program,
                      model_.backend->Compile(decoder->graph.graph, model_.compute));
  decoders_.push_front(std::move(decoder));
  if (decoders_.size() > kSizesKept) decoders_.pop_back();
  return decoders_.front().get();
}

absl::StatusOr<PictureCoder::Encoder*> PictureCoder::EncoderFor(LatentSize size) {
  auto* known = MoveToFront(encoders_, [&](const auto& encoder) { return encoder->size == size; });
  if (known != nullptr) return known->get();
  auto encoder = std::make_unique<Encoder>();
  const int scale = model_.config.vae.scale();
  encoder->size = size;
  encoder->graph = model_.vae->BuildEncode({size.height * scale, size.width * scale, 0});
  TS_ASSIGN_OR_RETURN(encoder->program,
                      model_.backend->Compile(encoder->graph.graph, model_.compute));
  encoders_.push_front(std::move(encoder));
  if (encoders_.size() > kSizesKept) encoders_.pop_back();
  return encoders_.front().get();
}

absl::Status PictureCoder::DecodeInTiles(LatentSize size, std::span<const float> latent,
                                         std::span<float> picture) const {
  return TiledDecoder(model_, size, TileOf(size)).Decode(latent, picture);
}

int PictureCoder::TileOf(LatentSize size) const {
  const int whole = kWholePixels / model_.config.vae.scale();
  return std::min(whole, std::max(size.height, size.width) / 2);
}

absl::Status PictureCoder::Decode(LatentSize size, std::span<const float> latent,
                                  std::span<float> picture, Tiling tiling) {
  if (InTiles(tiling, size, model_.config.vae.scale())) {
    decoders_.clear();  // their memory is for the tiles
    return DecodeInTiles(size, latent, picture);
  }
  TS_ASSIGN_OR_RETURN(Decoder * decoder, DecoderFor(size));
  const Vae::DecodeGraph& graph = decoder->graph;
  decoder->program->Write(graph.latent, latent);
  decoder->program->Run();
  decoder->program->Read(graph.picture, picture);
  if (graph.range != 1 || graph.shift != 0) {
    for (float& value : picture) value = value * graph.range + graph.shift;
  }
  return model_.backend->health();
}

absl::Status PictureCoder::Encode(LatentSize size, std::span<const float> photo,
                                  std::vector<float>* moments, Tiling tiling) {
  if (!model_.vae->has_encoder()) {
    return absl::FailedPreconditionError(
        "the model's vae has no encoder (no encoder.* tensors), so it cannot take a photo; use a model whose vae is "
        "whole");
  }
  if (InTiles(tiling, size, model_.config.vae.scale())) {
    encoders_.clear();
    return TiledEncoder(model_, size, TileOf(size)).Encode(photo, moments);
  }
  TS_ASSIGN_OR_RETURN(Encoder * encoder, EncoderFor(size));
  encoder->program->Write(encoder->graph.photo, photo);
  encoder->program->Run();
  moments->resize(encoder->graph.moments.shape.size());
  encoder->program->Read(encoder->graph.moments, *moments);
  return model_.backend->health();
}

std::vector<float> PictureCoder::Scaled(std::span<const float> latent) const {
  const VaeConfig& vae = model_.config.vae;
  std::vector<float> scaled(latent.begin(), latent.end());
  for (float& value : scaled) value = (value - vae.shift_factor) * vae.scaling_factor;
  return scaled;
}

std::vector<float> PictureCoder::Sampled(std::span<const float> moments,
                                         std::span<const float> noise) const {
  if (moments.size() == noise.size()) return Scaled(moments);  // without variances
  TS_CHECK(moments.size() == 2 * noise.size());
  std::vector<float> sample(noise.size());
  for (size_t i = 0; i < sample.size(); ++i) {
    const float log_variance = std::clamp(moments[noise.size() + i], -30.0f, 20.0f);
    sample[i] = moments[i] + std::exp(0.5f * log_variance) * noise[i];
  }
  return Scaled(sample);
}

absl::StatusOr<Program*> PictureCoder::DecodeProgram(LatentSize size) {
  TS_ASSIGN_OR_RETURN(Decoder * decoder, DecoderFor(size));
  return decoder->program.get();
}

}  // namespace tiltshift::engine
