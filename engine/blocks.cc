#include "engine/blocks.h"

namespace tiltshift::engine {

Norm Norm::Load(ParameterSet& set, const std::string& name, int channels) {
  return {set.Get(name + ".weight", {channels}), set.Get(name + ".bias", {channels})};
}

Affine Affine::Conv3x3(ParameterSet& set, const std::string& name, int in, int out) {
  return {set.Get(name + ".weight", {out, in, 3, 3}), set.Get(name + ".bias", {out})};
}

Affine Affine::Matrix(ParameterSet& set, const std::string& name, int in, int out, Stored stored) {
  std::vector<int64_t> shape = {out, in};
  if (stored == Stored::kConv1x1) shape = {out, in, 1, 1};
  return {set.Get(name + ".weight", shape), set.Get(name + ".bias", {out})};
}

ResnetBlock ResnetBlock::Load(ParameterSet& set, const std::string& name, int in, int out,
                              GroupNormSettings norm) {
  ResnetBlock block;
  block.name = name;
  block.norm = norm;
  block.in = in;
  block.out = out;
  block.norm1 = Norm::Load(set, name + ".norm1", in);
  block.conv1 = Affine::Conv3x3(set, name + ".conv1", in, out);
  block.norm2 = Norm::Load(set, name + ".norm2", out);
  block.conv2 = Affine::Conv3x3(set, name + ".conv2", out, out);
  if (in != out) {
    block.shortcut = Affine::Matrix(set, name + ".conv_shortcut", in, out, Affine::Stored::kConv1x1);
  }
  return block;
}

Value ResnetBlock::Build(Graph& graph, const Value& x, const std::optional<Value>& time) const {
  const auto normed = [&](const char* which, const Value& in, const Norm& weights) {
    return graph.GroupNorm(name + which, {.x = in,
                                          .scale = weights.scale,
                                          .shift = weights.shift,
                                          .groups = norm.groups,
                                          .eps = norm.eps,
                                          .nonlinearity = Nonlinearity::kSilu});
  };
  Value h = normed(".norm1", x, norm1);
  h = graph.Conv(name + ".conv1",
                 {.x = h, .filter = conv1.weight, .bias = conv1.bias, .row_bias = time});
  h = normed(".norm2", h, norm2);
  Value residual = x;
  if (shortcut) {
    residual = graph.Linear(name + ".conv_shortcut",
                            {.x = x, .matrix = shortcut->weight, .bias = shortcut->bias});
  }
  return graph.Conv(name + ".conv2",
                    {.x = h, .filter = conv2.weight, .bias = conv2.bias, .residual = residual});
}

namespace {

TransformerBlock LoadTransformerBlock(ParameterSet& set, const std::string& name,
                                      const TransformerSettings& settings, int* context_channels) {
  const int inner = settings.channels;
  TransformerBlock block;
  block.name = name;
  block.inner = inner;
  block.heads = settings.heads;
  block.norm1 = Norm::Load(set, name + ".norm1", inner);
  block.norm2 = Norm::Load(set, name + ".norm2", inner);
  block.norm3 = Norm::Load(set, name + ".norm3", inner);
  block.qkv = set.Stack(name + ".attn1.to_qkv", {{name + ".attn1.to_q.weight", {inner, inner}},
                                                 {name + ".attn1.to_k.weight", {inner, inner}},
                                                 {name + ".attn1.to_v.weight", {inner, inner}}});
  block.self_out = Affine::Matrix(set, name + ".attn1.to_out.0", inner, inner);
  block.cross_q = set.Get(name + ".attn2.to_q.weight", {inner, inner});
  block.context = {*context_channels, name + ".attn2.to_k.weight", name + ".attn2.to_v.weight"};
  *context_channels += 2 * inner;
  block.cross_out = Affine::Matrix(set, name + ".attn2.to_out.0", inner, inner);
  block.ff_in = Affine::Matrix(set, name + ".ff.net.0.proj", inner, 8 * inner);
  block.ff_out = Affine::Matrix(set, name + ".ff.net.2", 4 * inner, inner);
  return block;
}

}  // namespace

Value TransformerBlock::Build(Graph& graph, Value x, const Value& context_row) const {
  const auto normed = [&](const char* which, const Norm& weights) {
    return graph.LayerNorm(name + which, {.x = x, .scale = weights.scale, .shift = weights.shift});
  };
  const auto plus = [&](const char* which, const Value& in, const Affine& affine) {
    return graph.Linear(name + which,
                        {.x = in, .matrix = affine.weight, .bias = affine.bias, .residual = x});
  };

  const Value all = graph.Linear(name + ".attn1.to_qkv", {.x = normed(".norm1", norm1), .matrix = qkv});
  Value h = graph.Attention(name + ".attn1", {.q = Graph::Channels(all, 0, inner),
                                              .k = Graph::Channels(all, inner, inner),
                                              .v = Graph::Channels(all, 2 * inner, inner),
                                              .heads = heads});
  x = plus(".attn1.to_out.0", h, self_out);

  const Value q = graph.Linear(name + ".attn2.to_q", {.x = normed(".norm2", norm2), .matrix = cross_q});
  h = graph.Attention(name + ".attn2",
                      {.q = q,
                       .k = Graph::Channels(context_row, context.first, inner),
                       .v = Graph::Channels(context_row, context.first + inner, inner),
                       .heads = heads});
  x = plus(".attn2.to_out.0", h, cross_out);

  h = graph.Linear(name + ".ff.net.0.proj",
                   {.x = normed(".norm3", norm3), .matrix = ff_in.weight, .bias = ff_in.bias});
  h = graph.Geglu(name + ".ff.geglu", h);
  return plus(".ff.net.2", h, ff_out);
}

Transformer Transformer::Load(ParameterSet& set, const std::string& name,
                              const TransformerSettings& settings, int* context_channels) {
  const int channels = settings.channels;
  const auto stored =
      settings.linear_projection ? Affine::Stored::kLinear : Affine::Stored::kConv1x1;
  Transformer transformer;
  transformer.name = name;
  transformer.settings = settings;
  transformer.norm = Norm::Load(set, name + ".norm", channels);
  transformer.proj_in = Affine::Matrix(set, name + ".proj_in", channels, channels, stored);
  for (int i = 0; i < settings.layers; ++i) {
    transformer.blocks.push_back(LoadTransformerBlock(
        set, absl::StrCat(name, ".transformer_blocks.", i), settings, context_channels));
  }
  transformer.proj_out = Affine::Matrix(set, name + ".proj_out", channels, channels, stored);
  return transformer;
}

Value Transformer::Build(Graph& graph, const Value& x, const Value& context_row) const {
  Value h = graph.GroupNorm(name + ".norm", {.x = x,
                                             .scale = norm.scale,
                                             .shift = norm.shift,
                                             .groups = settings.groups,
                                             .eps = 1e-6f});
  h = graph.Linear(name + ".proj_in", {.x = h, .matrix = proj_in.weight, .bias = proj_in.bias});
  for (const TransformerBlock& block : blocks) h = block.Build(graph, h, context_row);
  return graph.Linear(name + ".proj_out",
                      {.x = h, .matrix = proj_out.weight, .bias = proj_out.bias, .residual = x});
}

}  // namespace tiltshift::engine
