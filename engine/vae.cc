#include "engine/vae.h"

#include <cmath>
#include <utility>

#include "engine/vae_kl.h"
#include "engine/vae_tiny.h"

namespace tiltshift::engine {

absl::StatusOr<std::unique_ptr<Vae>> Vae::Load(const VaeConfig& config, Weights weights) {
  std::unique_ptr<Vae> vae;
  if (config.kind == VaeKind::kTiny) {
    vae = std::make_unique<TinyVae>(config, std::move(weights));
  } else {
    vae = std::make_unique<KlVae>(config, std::move(weights));
  }
  vae->LoadAll();
  TS_RETURN_IF_ERROR(vae->set_.status());
  return vae;
}

Vae::DecodeGraph Vae::BuildDecode(Shape latent) const {
  DecodeGraph decode;
  latent.channels = config_.latent_channels;
  decode.latent = decode.graph.Input(latent, Element::kFloat);
  Finish(decode, Head(decode.graph, decode.latent));
  return decode;
}

Vae::HeadGraph Vae::BuildHead(Shape latent) const {
  HeadGraph head;
  latent.channels = config_.latent_channels;
  head.latent = head.graph.Input(latent, Element::kFloat);
  const Value features = Head(head.graph, head.latent);
  head.features = head.graph.Map("features", features, Nonlinearity::kNone, Element::kFloat);
  head.graph.Output(head.features);
  return head;
}

Vae::DecodeGraph Vae::BuildTail(Shape features, Norms norms) const {
  DecodeGraph tail;
  features.channels = feature_channels();
  tail.latent = tail.graph.Input(features, Element::kFloat);
  tail.graph.SetNorms(norms);
  Finish(tail, tail.graph.Map("features", tail.latent, Nonlinearity::kNone));
  return tail;
}

void Vae::Finish(DecodeGraph& decode, const Value& features) const {
  decode.picture = Tail(decode.graph, features);
  decode.graph.Output(decode.picture);
  decode.range = picture_range().range;
  decode.shift = picture_range().shift;
}

Vae::EncodeGraph Vae::BuildEncode(Shape photo) const {
  EncodeGraph encode;
  photo.channels = 3;
  encode.photo = encode.graph.Input(photo, Element::kFloat);
  encode.moments = EncodeEnd(encode.graph, EncodeLevels(encode.graph, encode.photo));
  encode.graph.Output(encode.moments);
  return encode;
}

Vae::EncodeLevelsGraph Vae::BuildEncodeLevels(Shape photo, Norms norms) const {
  EncodeLevelsGraph levels;
  photo.channels = 3;
  levels.graph.SetNorms(norms);
  levels.photo = levels.graph.Input(photo, Element::kFloat);
  const Value features = EncodeLevels(levels.graph, levels.photo);
  levels.features = levels.graph.Map("features", features, Nonlinearity::kNone, Element::kFloat);
  levels.graph.Output(levels.features);
  return levels;
}

Vae::EncodeEndGraph Vae::BuildEncodeEnd(Shape features) const {
  EncodeEndGraph end;
  features.channels = encoder_feature_channels();
  end.features = end.graph.Input(features, Element::kFloat);
  end.moments = EncodeEnd(end.graph, end.graph.Map("features", end.features, Nonlinearity::kNone));
  end.graph.Output(end.moments);
  return end;
}

// In the photo's pixels a convolution looks farther at each coarser level; one of stride 2 at most two positions.
int Vae::encoder_halo() const {
  int64_t pixels = 0;
  const std::vector<int> convolutions = EncoderConvolutions();
  for (size_t i = 0; i < convolutions.size(); ++i) {
    pixels += (convolutions[i] + (i + 1 < convolutions.size() ? 2 : 0)) * (int64_t{1} << i);
  }
  return static_cast<int>((pixels + config_.scale() - 1) / config_.scale());
}

// A 3x3 convolution looks one position farther, which is less of a cell at each finer level; an
// upsampling may round away from the cell, at most one position.
int Vae::halo() const {
  double cells = 1.0 / config_.scale();  // conv_out
  const std::vector<int> convolutions = TailConvolutions();
  for (size_t i = 0; i < convolutions.size(); ++i) {
    cells += (convolutions[i] + (i > 0 ? 1 : 0)) / static_cast<double>(int64_t{1} << i);
  }
  return static_cast<int>(std::ceil(cells));
}

}  // namespace tiltshift::engine
