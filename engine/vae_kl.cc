#include "engine/vae_kl.h"

#include <cmath>
#include <utility>

namespace tiltshift::engine {

Value KlVae::BuildAttention(Graph& graph, const Attention& attention, const Value& x) const {
  const int channels = x.shape.channels;
  const std::string name = "mid_block.attention";
  Value h = graph.GroupNorm(name + ".norm", {.x = x,
                                             .scale = attention.norm.scale,
                                             .shift = attention.norm.shift,
                                             .groups = config_.norm_num_groups,
                                             .eps = norm().eps});
  h = graph.Linear(name + ".to_qkv",
                   {.x = h, .matrix = attention.qkv.weight, .bias = attention.qkv.bias});
  h = graph.Attention(name, {.q = Graph::Channels(h, 0, channels),
                             .k = Graph::Channels(h, channels, channels),
                             .v = Graph::Channels(h, 2 * channels, channels)});
  return graph.Linear(
      name + ".to_out",
      {.x = h, .matrix = attention.out.weight, .bias = attention.out.bias, .residual = x});
}

Value KlVae::BuildMiddle(Graph& graph, const Middle& middle, const Value& x) const {
  Value h = middle.resnets[0].Build(graph, x, std::nullopt);
  if (middle.attention) h = BuildAttention(graph, *middle.attention, h);
  return middle.resnets[1].Build(graph, h, std::nullopt);
}

Value KlVae::BuildNormOut(Graph& graph, const Norm& norm_out, const Value& x) const {
  return graph.GroupNorm("conv_norm_out", {.x = x,
                                           .scale = norm_out.scale,
                                           .shift = norm_out.shift,
                                           .groups = config_.norm_num_groups,
                                           .eps = norm().eps,
                                           .nonlinearity = Nonlinearity::kSilu});
}

// Up to the middle block, whose attention is over all of the picture.
Value KlVae::Head(Graph& graph, const Value& latent) const {
  const Network& net = decoder_;
  Value x = graph.FromPlanar("latent", latent, 1 / config_.scaling_factor, config_.shift_factor);
  if (net.quant) {
    x = graph.Linear("post_quant_conv",
                     {.x = x, .matrix = net.quant->weight, .bias = net.quant->bias});
  }
  x = graph.Conv("conv_in", {.x = x, .filter = net.conv_in.weight, .bias = net.conv_in.bias});
  return BuildMiddle(graph, net.middle, x);
}

Value KlVae::Tail(Graph& graph, Value x) const {
  const Network& net = decoder_;
  for (const Level& level : net.levels) {
    for (const ResnetBlock& resnet : level.resnets) x = resnet.Build(graph, x, std::nullopt);
    if (level.resample) {
      x = graph.Upsample("upsample", x);
      x = graph.Conv("upsample.conv",
                     {.x = x, .filter = level.resample->weight, .bias = level.resample->bias});
    }
  }
  x = BuildNormOut(graph, net.norm_out, x);
  return graph.Conv("conv_out", {.x = x, .filter = net.conv_out.weight, .bias = net.conv_out.bias},
                    Element::kFloat);
}

Vae::DecodeGraph KlVae::BuildDecode(Shape latent) const {
  DecodeGraph decode;
  latent.channels = config_.latent_channels;
  decode.latent = decode.graph.Input(latent, Element::kFloat);
  decode.picture = Tail(decode.graph, Head(decode.graph, decode.latent));
  decode.graph.Output(decode.picture);
  return decode;
}

Vae::HeadGraph KlVae::BuildHead(Shape latent) const {
  HeadGraph head;
  latent.channels = config_.latent_channels;
  head.latent = head.graph.Input(latent, Element::kFloat);
  const Value features = Head(head.graph, head.latent);
  head.features = head.graph.Map("features", features, Nonlinearity::kNone, Element::kFloat);
  head.graph.Output(head.features);
  return head;
}

Vae::DecodeGraph KlVae::BuildTail(Shape features, Norms norms) const {
  DecodeGraph tail;
  features.channels = top();
  tail.latent = tail.graph.Input(features, Element::kFloat);
  tail.graph.SetNorms(norms);
  tail.picture = Tail(tail.graph, tail.graph.Map("features", tail.latent, Nonlinearity::kNone));
  tail.graph.Output(tail.picture);
  return tail;
}

// A 3x3 convolution looks one position farther, which is less of a cell at each finer level; an
// upsampling may round away from the cell, at most one position.
int KlVae::halo() const {
  double cells = 0;
  for (size_t i = 0; i < decoder_.levels.size(); ++i) {
    const double convolutions =
        2.0 * static_cast<double>(decoder_.levels[i].resnets.size()) + (i > 0 ? 2 : 0);
    cells += convolutions / static_cast<double>(int64_t{1} << i);
  }
  cells += 1.0 / config_.scale();  // conv_out
  return static_cast<int>(std::ceil(cells));
}

Vae::EncodeGraph KlVae::BuildEncode(Shape photo) const {
  EncodeGraph encode;
  Graph& graph = encode.graph;
  photo.channels = 3;
  encode.photo = graph.Input(photo, Element::kFloat);
  Value x = graph.FromPlanar("photo", encode.photo, 1, 0);
  const Network& net = encoder_;
  x = graph.Conv("conv_in", {.x = x, .filter = net.conv_in.weight, .bias = net.conv_in.bias});
  for (const Level& level : net.levels) {
    for (const ResnetBlock& resnet : level.resnets) x = resnet.Build(graph, x, std::nullopt);
    if (level.resample) {
      x = graph.Conv("downsample", {.x = x,
                                    .filter = level.resample->weight,
                                    .bias = level.resample->bias,
                                    .stride = 2,
                                    .pad_end = true});
    }
  }
  x = BuildMiddle(graph, net.middle, x);
  x = BuildNormOut(graph, net.norm_out, x);
  x = graph.Conv("conv_out", {.x = x, .filter = net.conv_out.weight, .bias = net.conv_out.bias});
  if (net.quant) {
    x = graph.Linear("quant_conv", {.x = x, .matrix = net.quant->weight, .bias = net.quant->bias});
  }
  encode.moments = graph.ToPlanar("moments", x);
  graph.Output(encode.moments);
  return encode;
}

}  // namespace tiltshift::engine
