#include "engine/unet.h"

#include <cmath>
#include <utility>

#include "engine/unet_walk.h"

namespace tiltshift::engine {

UNet::TimeGraph UNet::BuildTime(int steps) const {
  TimeGraph time;
  Graph& graph = time.graph;
  const auto input = [&](int channels) {
    return graph.Input({steps, 1, channels}, Element::kFloat);
  };
  const auto linear = [&](const char* name, const Value& x, const Affine& affine,
                          Nonlinearity nonlinearity, std::optional<Value> residual = {}) {
    return graph.Linear(name, {.x = x,
                               .matrix = affine.weight,
                               .bias = affine.bias,
                               .residual = residual,
                               .nonlinearity = nonlinearity});
  };
  time.input = input(TimeInputChannels());
  Value h = graph.Map("time.input", time.input, Nonlinearity::kNone);
  if (guidance_ != nullptr) {
    time.guidance = input(config_.guidance_embed_dim);
    const Value scale = graph.Map("time.guidance", *time.guidance, Nonlinearity::kNone);
    h = linear("time_embedding.cond_proj", scale, {.weight = guidance_}, Nonlinearity::kNone, h);
  }
  h = linear("time_embedding", h, time1_, Nonlinearity::kSilu);
  if (added1_.weight == nullptr) {
    h = linear("time_embedding", h, time2_, Nonlinearity::kSilu);
  } else {
    time.added = input(config_.added_dim);
    Value added = graph.Map("time.added", *time.added, Nonlinearity::kNone);
    added = linear("add_embedding", added, added1_, Nonlinearity::kSilu);
    added = linear("add_embedding", added, added2_, Nonlinearity::kNone);
    h = linear("time_embedding", h, time2_, Nonlinearity::kNone, added);
    h = graph.Map("time_embedding", h, Nonlinearity::kSilu);
  }
  time.output =
      graph.Linear("time_emb_proj", {.x = h, .matrix = time_rows_.weight, .bias = time_rows_.bias},
                   Element::kFloat);
  graph.Output(time.output);
  return time;
}

UNet::ContextGraph UNet::BuildContext(int tokens) const {
  ContextGraph context;
  Graph& graph = context.graph;
  context.input = graph.Input({tokens, 1, config_.cross_attention_dim}, Element::kFloat);
  const Value h = graph.Map("context.input", context.input, Nonlinearity::kNone);
  context.output = graph.Linear("attn2.to_kv", {.x = h, .matrix = context_});
  graph.Output(context.output);
  return context;
}

UNet::Features UNet::Encode(const Walk& walk, Value x) const {
  Features features{.skips = {x}};
  for (const Level& level : down_) {
    for (const Layer& layer : level.layers) features.skips.push_back(x = walk.Layer(layer, x));
    if (level.resample)
      features.skips.push_back(x = walk.Conv("downsample", *level.resample, x, 2));
  }
  features.middle = walk.Layer(mid_.layers[1], walk.Layer(mid_.layers[0], x));
  return features;
}

UNet::DenoiseGraph UNet::BuildDenoise(Shape latent, int tokens, Ends ends,
                                      std::span<const UNet* const> controls) const {
  DenoiseGraph denoise;
  Graph& graph = denoise.graph;
  latent.channels = config_.in_channels;
  const bool planar = ends == Ends::kPlanar;
  denoise.latent = graph.Input(latent, planar ? Element::kFloat : Element::kActivation);
  denoise.time = graph.Input({1, 1, time_channels_}, Element::kFloat);
  denoise.context = graph.Bound({tokens, 1, context_channels_}, Element::kActivation);
  const Walk walk{graph, denoise.time, denoise.context};

  const Value input =
      planar ? graph.FromPlanar("latent", denoise.latent, 1, 0) : denoise.latent;
  Features features = Encode(walk, walk.Conv("conv_in", conv_in_, input));
  for (const UNet* control : controls)
    denoise.controls.push_back(control->AddTo(&features, graph, input, tokens));

  Value x = features.middle;
  std::vector<Value>& skips = features.skips;
  for (const Level& level : up_) {
    for (const Layer& layer : level.layers) {
      x = walk.Layer(layer, graph.Concat("skip", x, skips.back()));
      skips.pop_back();
    }
    if (!level.resample) continue;
    const Shape& skip = skips.back().shape;  // an odd side was halved to the larger half
    x = walk.Conv("upsample", *level.resample,
                  graph.Upsample("upsample", x, skip.height, skip.width));
  }

  x = graph.GroupNorm("conv_norm_out", {.x = x,
                                        .scale = norm_out_.scale,
                                        .shift = norm_out_.shift,
                                        .groups = config_.norm_num_groups,
                                        .eps = config_.norm_eps,
                                        .nonlinearity = Nonlinearity::kSilu});
  x = graph.Conv("conv_out", {.x = x, .filter = conv_out_.weight, .bias = conv_out_.bias},
                 Element::kFloat);
  denoise.output = planar ? graph.ToPlanar("output", x) : x;
  graph.Output(denoise.output);
  return denoise;
}

void UNet::FillSinusoids(float number, std::span<float> row) const {
  const int half = static_cast<int>(row.size()) / 2;
  for (int i = 0; i < half; ++i) {
    const float exponent = -std::log(10000.0f) * static_cast<float>(i) /
                           (static_cast<float>(half) - config_.freq_shift);
    const float angle = number * std::exp(exponent);
    row[config_.flip_sin_to_cos ? half + i : i] = std::sin(angle);
    row[config_.flip_sin_to_cos ? i : half + i] = std::cos(angle);
  }
  if (row.size() % 2 == 1) row.back() = 0;
}

void UNet::FillGuidanceInput(float guidance_scale, std::span<float> row) const {
  const int half = static_cast<int>(row.size()) / 2;
  const float step = std::log(10000.0f) / static_cast<float>(half - 1);
  for (int i = 0; i < half; ++i) {
    const float angle = (guidance_scale - 1) * 1000.0f * std::exp(static_cast<float>(i) * -step);
    row[i] = std::sin(angle);
    row[half + i] = std::cos(angle);
  }
  if (row.size() % 2 == 1) row.back() = 0;
}

}  // namespace tiltshift::engine
