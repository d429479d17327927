#include "engine/vae_decoder.h"

#include <utility>

namespace tiltshift::engine {

absl::StatusOr<std::unique_ptr<VaeDecoder>> VaeDecoder::Load(const VaeConfig& config, Weights weights) {
  std::unique_ptr<VaeDecoder> vae(new VaeDecoder(config, std::move(weights)));
  vae->LoadAll();
  TS_RETURN_IF_ERROR(vae->set_.status());
  return vae;
}

void VaeDecoder::LoadAll() {
  const std::vector<int>& channels = config_.block_out_channels;
  const int top = channels.back();
  const int latent = config_.latent_channels;
  if (config_.use_post_quant_conv) {
    post_quant_ = Affine::Matrix(set_, "post_quant_conv", latent, latent, Affine::Stored::kConv1x1);
  }
  conv_in_ = Affine::Conv3x3(set_, "decoder.conv_in", latent, top);
  for (int i = 0; i < 2; ++i) {
    mid_[i] = ResnetBlock::Load(set_, absl::StrCat("decoder.mid_block.resnets.", i), top, top, norm());
  }
  if (config_.mid_block_add_attention) {
    attention_ = LoadAttention("decoder.mid_block.attentions.0", top);
  }
  int in = top;
  for (int i = 0; i < config_.levels(); ++i) {
    const std::string name = absl::StrCat("decoder.up_blocks.", i);
    const int out = channels[config_.levels() - 1 - i];
    Block& block = up_.emplace_back();
    for (int j = 0; j <= config_.layers_per_block; ++j, in = out) {
      block.resnets.push_back(
          ResnetBlock::Load(set_, absl::StrCat(name, ".resnets.", j), in, out, norm()));
    }
    if (i + 1 < config_.levels()) {
      block.upsample = Affine::Conv3x3(set_, name + ".upsamplers.0.conv", out, out);
    }
  }
  norm_out_ = Norm::Load(set_, "decoder.conv_norm_out", channels[0]);
  conv_out_ = Affine::Conv3x3(set_, "decoder.conv_out", channels[0], config_.out_channels);
}

VaeDecoder::Attention VaeDecoder::LoadAttention(const std::string& name, int channels) {
  const bool old = set_.Has(name + ".query.weight");
  const char* names[] = {"to_q", "to_k", "to_v", "to_out.0"};
  const char* old_names[] = {"query", "key", "value", "proj_attn"};
  const auto tensor = [&](int which) {
    return absl::StrCat(name, ".", old ? old_names[which] : names[which]);
  };
  std::vector<ParameterSet::Part> weights, biases;
  for (int i = 0; i < 3; ++i) {
    weights.push_back({tensor(i) + ".weight", {channels, channels}});
    biases.push_back({tensor(i) + ".bias", {channels}});
  }
  Attention attention;
  attention.norm = Norm::Load(set_, name + ".group_norm", channels);
  attention.qkv.weight = set_.Stack(name + ".to_qkv.weight", weights);
  attention.qkv.bias = set_.Stack(name + ".to_qkv.bias", biases);
  attention.out = Affine::Matrix(set_, tensor(3), channels, channels);
  return attention;
}

Value VaeDecoder::BuildAttention(Graph& graph, const Value& x) const {
  const int channels = x.shape.channels;
  const std::string name = "mid_block.attention";
  Value h = graph.GroupNorm(name + ".norm", {.x = x,
                                             .scale = attention_->norm.scale,
                                             .shift = attention_->norm.shift,
                                             .groups = config_.norm_num_groups,
                                             .eps = norm().eps});
  h = graph.Linear(name + ".to_qkv",
                   {.x = h, .matrix = attention_->qkv.weight, .bias = attention_->qkv.bias});
  h = graph.Attention(name, {.q = Graph::Channels(h, 0, channels),
                             .k = Graph::Channels(h, channels, channels),
                             .v = Graph::Channels(h, 2 * channels, channels)});
  return graph.Linear(name + ".to_out", {.x = h,
                                         .matrix = attention_->out.weight,
                                         .bias = attention_->out.bias,
                                         .residual = x});
}

VaeDecoder::DecodeGraph VaeDecoder::Build(Shape latent) const {
  DecodeGraph decode;
  Graph& graph = decode.graph;
  latent.channels = config_.latent_channels;
  decode.latent = graph.Input(latent, Element::kFloat);
  Value x = graph.FromPlanar("latent", decode.latent, 1 / config_.scaling_factor, config_.shift_factor);
  if (post_quant_) {
    x = graph.Linear("post_quant_conv",
                     {.x = x, .matrix = post_quant_->weight, .bias = post_quant_->bias});
  }
  x = graph.Conv("conv_in", {.x = x, .filter = conv_in_.weight, .bias = conv_in_.bias});
  x = mid_[0].Build(graph, x, std::nullopt);
  if (attention_) x = BuildAttention(graph, x);
  x = mid_[1].Build(graph, x, std::nullopt);
  for (const Block& block : up_) {
    for (const ResnetBlock& resnet : block.resnets) x = resnet.Build(graph, x, std::nullopt);
    if (block.upsample) {
      x = graph.Upsample("upsample", x);
      x = graph.Conv("upsample.conv",
                     {.x = x, .filter = block.upsample->weight, .bias = block.upsample->bias});
    }
  }
  x = graph.GroupNorm("conv_norm_out", {.x = x,
                                        .scale = norm_out_.scale,
                                        .shift = norm_out_.shift,
                                        .groups = config_.norm_num_groups,
                                        .eps = norm().eps,
                                        .nonlinearity = Nonlinearity::kSilu});
  decode.picture = graph.Conv("conv_out", {.x = x, .filter = conv_out_.weight, .bias = conv_out_.bias},
                              Element::kFloat);
  graph.Output(decode.picture);
  return decode;
}

}  // namespace tiltshift::engine
