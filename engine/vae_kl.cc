#include "engine/vae_kl.h"

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

Value KlVae::Tail(Graph& graph, const Value& features) const {
  const Network& net = decoder_;
  Value x = features;
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

std::vector<int> KlVae::TailConvolutions() const {
  std::vector<int> convolutions;
  for (const Level& level : decoder_.levels) {
    convolutions.push_back(2 * static_cast<int>(level.resnets.size()) + (convolutions.empty() ? 0 : 1));
  }
  return convolutions;
}

Value KlVae::EncodeLevels(Graph& graph, const Value& photo) const {
  const Network& net = encoder_;
  Value x = graph.FromPlanar("photo", photo, 1, 0);
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
  return x;
}

Value KlVae::EncodeEnd(Graph& graph, const Value& features) const {
  const Network& net = encoder_;
  Value x = BuildMiddle(graph, net.middle, features);
  x = BuildNormOut(graph, net.norm_out, x);
  x = graph.Conv("conv_out", {.x = x, .filter = net.conv_out.weight, .bias = net.conv_out.bias});
  if (net.quant) {
    x = graph.Linear("quant_conv", {.x = x, .matrix = net.quant->weight, .bias = net.quant->bias});
  }
  return graph.ToPlanar("moments", x);
}

std::vector<int> KlVae::EncoderConvolutions() const {
  std::vector<int> convolutions;
  for (const Level& level : encoder_.levels) {
    convolutions.push_back(2 * static_cast<int>(level.resnets.size()) + (convolutions.empty() ? 1 : 0));
  }
  return convolutions;
}

}  // namespace tiltshift::engine
