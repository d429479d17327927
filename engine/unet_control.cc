// What a ControlNet has beside the encoder: diffusers' ControlNetModel (Zhang et al. 2023).
#include "absl/strings/str_cat.h"
#include "engine/unet.h"
#include "engine/unet_walk.h"

namespace tiltshift::engine {

// Two convolutions a size, the second of which halves it.
void UNet::LoadControl(const std::vector<int>& skips) {
  const std::string embedding = "controlnet_cond_embedding";
  const std::vector<int>& channels = config_.hint_channels;
  hint_.push_back(Affine::Conv3x3(set_, embedding + ".conv_in", 3, channels[0]));
  for (size_t i = 0; i + 1 < channels.size(); ++i) {
    const auto block = [&](size_t n) { return absl::StrCat(embedding, ".blocks.", n); };
    hint_.push_back(Affine::Conv3x3(set_, block(2 * i), channels[i], channels[i]));
    hint_.push_back(Affine::Conv3x3(set_, block(2 * i + 1), channels[i], channels[i + 1]));
  }
  hint_.push_back(Affine::Conv3x3(set_, embedding + ".conv_out", channels.back(),
                                  config_.block_out_channels[0]));

  const auto output = [&](const std::string& name, int size) {
    outputs_.push_back(Affine::Matrix(set_, name, size, size, Affine::Stored::kConv1x1));
  };
  for (size_t i = 0; i < skips.size(); ++i)
    output(absl::StrCat("controlnet_down_blocks.", i), skips[i]);
  output("controlnet_mid_block", config_.block_out_channels.back());
}

UNet::HintGraph UNet::BuildHint(Shape latent) const {
  HintGraph hint;
  Graph& graph = hint.graph;
  const int scale = config_.hint_scale();
  hint.picture = graph.Input({latent.height * scale, latent.width * scale, 3}, Element::kFloat);
  Value x = graph.FromPlanar("picture", hint.picture, 0.5f, 0.5f);  // ControlNets see 0..1
  for (size_t i = 0; i < hint_.size(); ++i) {
    const bool halves = i % 2 == 0 && i > 0 && i + 1 < hint_.size();
    x = graph.Conv(
        "controlnet_cond_embedding",
        {.x = x, .filter = hint_[i].weight, .bias = hint_[i].bias, .stride = halves ? 2 : 1});
    if (i + 1 < hint_.size()) x = graph.Map("controlnet_cond_embedding", x, Nonlinearity::kSilu);
  }
  hint.output = x;
  graph.Output(x);
  return hint;
}

UNet::DenoiseGraph::Control UNet::AddTo(Features* features, Graph& graph, const Value& latent,
                                        int tokens) const {
  const Shape cells = {latent.shape.height, latent.shape.width, config_.block_out_channels[0]};
  const DenoiseGraph::Control control = {
      .time = graph.Input({1, 1, time_channels_}, Element::kFloat),
      .context = graph.Bound({tokens, 1, context_channels_}, Element::kActivation),
      .hint = graph.Bound(cells, Element::kActivation)};
  const Walk walk{graph, control.time, control.context};
  const Features own = Encode(walk, graph.Conv("conv_in", {.x = latent,
                                                           .filter = conv_in_.weight,
                                                           .bias = conv_in_.bias,
                                                           .residual = control.hint}));
  const auto add = [&](const Value& x, const Affine& output, Value* to) {
    *to = graph.Linear("controlnet_output",
                       {.x = x, .matrix = output.weight, .bias = output.bias, .residual = *to});
  };
  for (size_t i = 0; i < own.skips.size(); ++i) add(own.skips[i], outputs_[i], &features->skips[i]);
  add(own.middle, outputs_.back(), &features->middle);
  return control;
}

}  // namespace tiltshift::engine
