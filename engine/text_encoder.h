// The prompt's tokens to its embedding: transformers' CLIPTextModel and CLIPTextModelWithProjection
// (Radford et al. 2021).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/blocks.h"
#include "engine/model_config.h"

namespace tiltshift::engine {

class TextEncoder {
 public:
  // Errors name the tensor or the file.
  static absl::StatusOr<std::unique_ptr<TextEncoder>> Load(const TextEncoderConfig& config,
                                                           Weights weights);

  // Which hidden state is the embedding.
  struct Layers {
    int left_out = 0;  // of the last ones; less than config().layers
    bool final_norm = true;
  };
  struct EncodeGraph {
    Graph graph;
    Value input;   // fp32 [tokens, hidden_size], filled by FillInput
    Value output;  // fp32 [tokens, hidden_size]
    // Where the config has a projection, fp32 [tokens, projection_dim]: all layers' outcome, normed
    // and projected. Its row at the text's end is the pooled embedding.
    std::optional<Value> projected;
  };
  EncodeGraph Build(int tokens, const Layers& layers) const;

  // The row of a text that stands for all of it.
  int EndOf(std::span<const int32_t> ids) const;

  // Token plus position embeddings. Ids must be within the vocabulary, and no more than
  // max_positions.
  void FillInput(std::span<const int32_t> ids, std::span<float> out) const;

  const TextEncoderConfig& config() const { return config_; }
  const Weights& weights() const { return set_.weights(); }

 private:
  struct Layer {
    Norm norm1, norm2;
    Affine qkv, out, fc1, fc2;
  };

  TextEncoder(const TextEncoderConfig& config, Weights weights)
      : config_(config), set_(std::move(weights)) {}
  Layer LoadLayer(const std::string& name);
  Value BuildLayer(Graph& graph, const Layer& layer, Value x) const;
  Value BuildNorm(Graph& graph, const Norm& norm, const Value& x) const;

  TextEncoderConfig config_;
  ParameterSet set_;
  const Parameter* tokens_ = nullptr;
  const Parameter* positions_ = nullptr;
  std::vector<Layer> layers_;
  Norm final_norm_;
  const Parameter* projection_ = nullptr;
};

}  // namespace tiltshift::engine
