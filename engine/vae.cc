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
