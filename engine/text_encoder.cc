#include "engine/text_encoder.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace tiltshift::engine {

absl::StatusOr<std::unique_ptr<TextEncoder>> TextEncoder::Load(const TextEncoderConfig& config,
                                                               Weights weights) {
  std::unique_ptr<TextEncoder> text(new TextEncoder(config, std::move(weights)));
  ParameterSet& set = text->set_;
  const int hidden = config.hidden_size;
  // transformers before 5 keeps the model under "text_model.", later ones may not.
  const std::string root = set.Has("embeddings.token_embedding.weight") ? "" : "text_model.";
  const std::string embeddings = root + "embeddings.";
  text->tokens_ = set.Get(embeddings + "token_embedding.weight", {config.vocab_size, hidden});
  text->positions_ =
      set.Get(embeddings + "position_embedding.weight", {config.max_positions, hidden});
  for (int i = 0; i < config.layers; ++i) {
    text->layers_.push_back(text->LoadLayer(absl::StrCat(root, "encoder.layers.", i)));
  }
  text->final_norm_ = Norm::Load(set, root + "final_layer_norm", hidden);
  if (config.projection_dim > 0) {
    text->projection_ = set.Get("text_projection.weight", {config.projection_dim, hidden});
  }
  TS_RETURN_IF_ERROR(set.status());
  return text;
}

TextEncoder::Layer TextEncoder::LoadLayer(const std::string& name) {
  const int hidden = config_.hidden_size;
  std::vector<ParameterSet::Part> weights, biases;
  for (const char* part : {".self_attn.q_proj", ".self_attn.k_proj", ".self_attn.v_proj"}) {
    weights.push_back({name + part + ".weight", {hidden, hidden}});
    biases.push_back({name + part + ".bias", {hidden}});
  }
  Layer layer;
  layer.norm1 = Norm::Load(set_, name + ".layer_norm1", hidden);
  layer.qkv = {set_.Stack(name + ".self_attn.qkv.weight", weights),
               set_.Stack(name + ".self_attn.qkv.bias", biases)};
  layer.out = Affine::Matrix(set_, name + ".self_attn.out_proj", hidden, hidden);
  layer.norm2 = Norm::Load(set_, name + ".layer_norm2", hidden);
  layer.fc1 = Affine::Matrix(set_, name + ".mlp.fc1", hidden, config_.intermediate_size);
  layer.fc2 = Affine::Matrix(set_, name + ".mlp.fc2", config_.intermediate_size, hidden);
  return layer;
}

Value TextEncoder::BuildNorm(Graph& graph, const Norm& norm, const Value& x) const {
  return graph.LayerNorm(
      "text.norm",
      {.x = x, .scale = norm.scale, .shift = norm.shift, .eps = config_.layer_norm_eps});
}

Value TextEncoder::BuildLayer(Graph& graph, const Layer& layer, Value x) const {
  const int hidden = config_.hidden_size;
  Value h = graph.Linear(
      "text.qkv",
      {.x = BuildNorm(graph, layer.norm1, x), .matrix = layer.qkv.weight, .bias = layer.qkv.bias});
  h = graph.Attention("text.attention", {.q = Graph::Channels(h, 0, hidden),
                                         .k = Graph::Channels(h, hidden, hidden),
                                         .v = Graph::Channels(h, 2 * hidden, hidden),
                                         .heads = config_.attention_heads,
                                         .causal = true});
  x = graph.Linear("text.out",
                   {.x = h, .matrix = layer.out.weight, .bias = layer.out.bias, .residual = x});
  h = graph.Linear("text.fc1", {.x = BuildNorm(graph, layer.norm2, x),
                                .matrix = layer.fc1.weight,
                                .bias = layer.fc1.bias,
                                .nonlinearity = config_.activation == Activation::kQuickGelu
                                                    ? Nonlinearity::kQuickGelu
                                                    : Nonlinearity::kGelu});
  return graph.Linear("text.fc2",
                      {.x = h, .matrix = layer.fc2.weight, .bias = layer.fc2.bias, .residual = x});
}

TextEncoder::EncodeGraph TextEncoder::Build(int tokens, const Layers& layers) const {
  TS_CHECK(layers.left_out >= 0 && layers.left_out < config_.layers);
  EncodeGraph encode;
  Graph& graph = encode.graph;
  encode.input = graph.Input({tokens, 1, config_.hidden_size}, Element::kFloat);
  Value x = graph.Map("text.input", encode.input, Nonlinearity::kNone);
  const int wanted = config_.layers - layers.left_out;
  for (int i = 0; i < wanted; ++i) x = BuildLayer(graph, layers_[i], x);
  encode.output = graph.Map("text.output", layers.final_norm ? BuildNorm(graph, final_norm_, x) : x,
                            Nonlinearity::kNone, Element::kFloat);
  graph.Output(encode.output);
  if (projection_ == nullptr) return encode;
  for (int i = wanted; i < config_.layers; ++i) x = BuildLayer(graph, layers_[i], x);
  encode.projected =
      graph.Linear("text.projection",
                   {.x = BuildNorm(graph, final_norm_, x), .matrix = projection_}, Element::kFloat);
  graph.Output(*encode.projected);
  return encode;
}

int TextEncoder::EndOf(std::span<const int32_t> ids) const {
  const auto end = config_.end_token ? std::ranges::find(ids, *config_.end_token)
                                     : std::ranges::max_element(ids);
  return end == ids.end() ? 0 : static_cast<int>(end - ids.begin());
}

void TextEncoder::FillInput(std::span<const int32_t> ids, std::span<float> out) const {
  const size_t hidden = config_.hidden_size;
  TS_CHECK(out.size() == ids.size() * hidden);
  std::vector<float> row(hidden);
  const auto read_row = [&](const Parameter& table, size_t index) {
    TensorView view = table.parts[0];
    const size_t bytes = hidden * DtypeBytes(view.dtype);
    TS_CHECK((index + 1) * bytes <= view.bytes.size());
    view.bytes = view.bytes.substr(index * bytes, bytes);
    view.shape = {static_cast<int64_t>(hidden)};
    TS_CHECK(CopyAsFloat(view, row).ok());
  };
  for (size_t t = 0; t < ids.size(); ++t) {
    read_row(*tokens_, ids[t]);
    std::copy(row.begin(), row.end(), out.begin() + t * hidden);
    read_row(*positions_, t);
    for (size_t c = 0; c < hidden; ++c) out[t * hidden + c] += row[c];
  }
}

}  // namespace tiltshift::engine
