// The prompt's tokens to its embedding: transformers' CLIPTextModel (Radford et al. 2021), last hidden state
// after the final LayerNorm.
#pragma once

#include <cstdint>
#include <memory>
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

  struct EncodeGraph {
    Graph graph;
    Value input;   // fp32 [tokens, hidden_size], filled by FillInput
    Value output;  // fp32 [tokens, hidden_size]
  };
  EncodeGraph Build(int tokens) const;

  // Token plus position embeddings. Ids must be within the vocabulary, and no more than max_positions.
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

  TextEncoderConfig config_;
  ParameterSet set_;
  const Parameter* tokens_ = nullptr;
  const Parameter* positions_ = nullptr;
  std::vector<Layer> layers_;
  Norm final_norm_;
};

}  // namespace tiltshift::engine
