// How an AutoencoderKL's tensors are called.
#include <utility>

#include "engine/vae_kl.h"

namespace tiltshift::engine {

void KlVae::LoadAll() {
  LoadDecoder();
  has_encoder_ = set_.Has("encoder.conv_in.weight");
  if (has_encoder_) LoadEncoder();
}

KlVae::Attention KlVae::LoadAttention(const std::string& name) {
  const int channels = top();
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

KlVae::Middle KlVae::LoadMiddle(const std::string& name) {
  Middle middle;
  for (int i = 0; i < 2; ++i) {
    middle.resnets[i] =
        ResnetBlock::Load(set_, absl::StrCat(name, ".resnets.", i), top(), top(), norm());
  }
  if (config_.mid_block_add_attention) middle.attention = LoadAttention(name + ".attentions.0");
  return middle;
}

void KlVae::LoadDecoder() {
  const std::vector<int>& channels = config_.block_out_channels;
  const int latent = config_.latent_channels;
  if (config_.use_post_quant_conv) {
    decoder_.quant =
        Affine::Matrix(set_, "post_quant_conv", latent, latent, Affine::Stored::kConv1x1);
  }
  decoder_.conv_in = Affine::Conv3x3(set_, "decoder.conv_in", latent, top());
  decoder_.middle = LoadMiddle("decoder.mid_block");
  int in = top();
  for (int i = 0; i < config_.levels(); ++i) {
    const std::string name = absl::StrCat("decoder.up_blocks.", i);
    const int out = channels[config_.levels() - 1 - i];
    Level& level = decoder_.levels.emplace_back();
    for (int j = 0; j <= config_.layers_per_block; ++j, in = out) {
      level.resnets.push_back(
          ResnetBlock::Load(set_, absl::StrCat(name, ".resnets.", j), in, out, norm()));
    }
    if (i + 1 < config_.levels()) {
      level.resample = Affine::Conv3x3(set_, name + ".upsamplers.0.conv", out, out);
    }
  }
  decoder_.norm_out = Norm::Load(set_, "decoder.conv_norm_out", channels[0]);
  decoder_.conv_out = Affine::Conv3x3(set_, "decoder.conv_out", channels[0], config_.out_channels);
}

void KlVae::LoadEncoder() {
  const std::vector<int>& channels = config_.block_out_channels;
  const int moments = 2 * config_.latent_channels;
  encoder_.conv_in = Affine::Conv3x3(set_, "encoder.conv_in", 3, channels[0]);
  int in = channels[0];
  for (int i = 0; i < config_.levels(); ++i) {
    const std::string name = absl::StrCat("encoder.down_blocks.", i);
    Level& level = encoder_.levels.emplace_back();
    for (int j = 0; j < config_.layers_per_block; ++j, in = channels[i]) {
      level.resnets.push_back(
          ResnetBlock::Load(set_, absl::StrCat(name, ".resnets.", j), in, channels[i], norm()));
    }
    if (i + 1 < config_.levels()) {
      level.resample = Affine::Conv3x3(set_, name + ".downsamplers.0.conv", in, in);
    }
  }
  encoder_.middle = LoadMiddle("encoder.mid_block");
  encoder_.norm_out = Norm::Load(set_, "encoder.conv_norm_out", top());
  encoder_.conv_out = Affine::Conv3x3(set_, "encoder.conv_out", top(), moments);
  if (config_.use_quant_conv) {
    encoder_.quant = Affine::Matrix(set_, "quant_conv", moments, moments, Affine::Stored::kConv1x1);
  }
}

}  // namespace tiltshift::engine
