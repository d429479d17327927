// Latent to picture: the decoder of diffusers' AutoencoderKL (Esser et al. 2021), as one graph.
#pragma once

#include <memory>
#include <vector>

#include "engine/blocks.h"
#include "engine/model_config.h"

namespace tiltshift::engine {

class VaeDecoder {
 public:
  // Errors name the tensor or the file. Takes both spellings of the attention's tensors: to_q, and query
  // as files from before diffusers 0.12 have it.
  static absl::StatusOr<std::unique_ptr<VaeDecoder>> Load(const VaeConfig& config, Weights weights);

  struct DecodeGraph {
    Graph graph;
    Value latent;   // planar [latent_channels, height, width], as the UNet leaves it
    Value picture;  // fp32 [height * scale, width * scale, out_channels], about -1..1
  };
  DecodeGraph Build(Shape latent) const;

  const VaeConfig& config() const { return config_; }
  const Weights& weights() const { return set_.weights(); }

 private:
  struct Block {
    std::vector<ResnetBlock> resnets;
    std::optional<Affine> upsample;
  };
  struct Attention {
    Norm norm;
    Affine qkv, out;  // qkv [3c, c]
  };

  VaeDecoder(const VaeConfig& config, Weights weights) : config_(config), set_(std::move(weights)) {}
  void LoadAll();
  Attention LoadAttention(const std::string& name, int channels);
  Value BuildAttention(Graph& graph, const Value& x) const;
  GroupNormSettings norm() const { return {config_.norm_num_groups, 1e-6f}; }

  VaeConfig config_;
  ParameterSet set_;
  std::optional<Affine> post_quant_;
  Affine conv_in_, conv_out_;
  Norm norm_out_;
  ResnetBlock mid_[2];
  std::optional<Attention> attention_;
  std::vector<Block> up_;
};

}  // namespace tiltshift::engine
