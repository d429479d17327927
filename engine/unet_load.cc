// How a UNet2DConditionModel's tensors are called, and which channels meet where.
#include <utility>

#include "engine/unet.h"

namespace tiltshift::engine {

absl::StatusOr<std::unique_ptr<UNet>> UNet::Load(const UNetConfig& config, Weights weights) {
  std::unique_ptr<UNet> unet(new UNet(config, std::move(weights)));
  unet->LoadAll();
  TS_RETURN_IF_ERROR(unet->set_.status());
  return unet;
}

void UNet::LoadAll() {
  const std::vector<int>& channels = config_.block_out_channels;
  conv_in_ = Affine::Conv3x3(set_, "conv_in", config_.in_channels, channels[0]);
  std::vector<int> skips = {channels[0]};
  for (int level = 0; level < config_.levels(); ++level) LoadDown(level, &skips);
  LoadMid();
  if (config_.is_control()) {
    LoadControl(skips);
  } else {
    LoadDecoder(&skips);
  }
  LoadTimeAndContext();
}

void UNet::LoadDecoder(std::vector<int>* skips) {
  const int channels = config_.block_out_channels[0];
  for (int block = 0; block < config_.levels(); ++block) LoadUp(block, skips);
  norm_out_ = Norm::Load(set_, "conv_norm_out", channels);
  conv_out_ = Affine::Conv3x3(set_, "conv_out", channels, config_.out_channels);
}

UNet::Layer UNet::LoadLayer(const std::string& block, int index, int in, int level,
                            bool attention) {
  const int out = config_.block_out_channels[level];
  Layer layer;
  layer.resnet = ResnetBlock::Load(set_, absl::StrCat(block, ".resnets.", index), in, out,
                                   {config_.norm_num_groups, config_.norm_eps});
  layer.time_first = time_channels_;
  time_channels_ += out;
  if (attention) {
    layer.transformer = Transformer::Load(set_, absl::StrCat(block, ".attentions.", index),
                                          {.channels = out,
                                           .heads = config_.attention_heads[level],
                                           .layers = config_.transformer_layers[level],
                                           .groups = config_.norm_num_groups,
                                           .linear_projection = config_.use_linear_projection},
                                          &context_channels_);
  }
  return layer;
}

void UNet::LoadDown(int level, std::vector<int>* skips) {
  const std::string block = absl::StrCat("down_blocks.", level);
  const int out = config_.block_out_channels[level];
  Level& loaded = down_.emplace_back();
  for (int i = 0; i < config_.layers_per_block[level]; ++i) {
    loaded.layers.push_back(
        LoadLayer(block, i, skips->back(), level, config_.down_attention[level]));
    skips->push_back(out);
  }
  if (level + 1 < config_.levels()) {
    loaded.resample = Affine::Conv3x3(set_, block + ".downsamplers.0.conv", out, out);
    skips->push_back(out);
  }
}

void UNet::LoadMid() {
  const int level = config_.levels() - 1;
  const int channels = config_.block_out_channels[level];
  mid_.layers.push_back(LoadLayer("mid_block", 0, channels, level, true));
  mid_.layers.push_back(LoadLayer("mid_block", 1, channels, level, false));
}

void UNet::LoadUp(int index, std::vector<int>* skips) {
  const std::string block = absl::StrCat("up_blocks.", index);
  const int level = config_.levels() - 1 - index;
  const int out = config_.block_out_channels[level];
  int in = config_.block_out_channels[index == 0 ? level : level + 1];
  Level& loaded = up_.emplace_back();
  for (int i = 0; i <= config_.layers_per_block[level]; ++i) {
    loaded.layers.push_back(
        LoadLayer(block, i, in + skips->back(), level, config_.up_attention[index]));
    skips->pop_back();
    in = out;
  }
  if (level > 0) loaded.resample = Affine::Conv3x3(set_, block + ".upsamplers.0.conv", out, out);
}

std::vector<const UNet::Layer*> UNet::AllLayers() const {
  std::vector<const Layer*> layers;
  const auto add = [&](const Level& level) {
    for (const Layer& layer : level.layers) layers.push_back(&layer);
  };
  for (const Level& level : down_) add(level);
  add(mid_);
  for (const Level& level : up_) add(level);
  return layers;
}

void UNet::LoadTimeAndContext() {
  const int dim = config_.time_embedding_dim();
  time1_ = Affine::Matrix(set_, "time_embedding.linear_1", config_.block_out_channels[0], dim);
  time2_ = Affine::Matrix(set_, "time_embedding.linear_2", dim, dim);
  if (config_.guidance_embed_dim > 0) {
    guidance_ = set_.Get("time_embedding.cond_proj.weight",
                         {config_.block_out_channels[0], config_.guidance_embed_dim});
  }
  if (config_.added_dim > 0) {
    added1_ = Affine::Matrix(set_, "add_embedding.linear_1", config_.added_dim, dim);
    added2_ = Affine::Matrix(set_, "add_embedding.linear_2", dim, dim);
  }

  std::vector<ParameterSet::Part> rows, row_biases, conv_biases, context;
  for (const Layer* layer : AllLayers()) {
    const std::string& name = layer->resnet.name;
    const int out = layer->resnet.out;
    rows.push_back({name + ".time_emb_proj.weight", {out, dim}});
    row_biases.push_back({name + ".time_emb_proj.bias", {out}});
    conv_biases.push_back({name + ".conv1.bias", {out}});
    if (!layer->transformer) continue;
    for (const TransformerBlock& block : layer->transformer->blocks) {
      for (const std::string& part : {block.context.key_name, block.context.value_name}) {
        context.push_back({part, {block.inner, config_.cross_attention_dim}});
      }
    }
  }
  time_rows_.weight = set_.Stack("time_emb_proj.weight", rows);
  time_rows_.bias = set_.Stack("time_emb_proj.bias", row_biases, conv_biases);
  context_ = set_.Stack("attn2.to_kv.weight", context);
}

}  // namespace tiltshift::engine
