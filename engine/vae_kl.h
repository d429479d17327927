// AutoencoderKL's two networks; vae.h says what they are for.
#pragma once

#include <vector>

#include "engine/vae.h"

namespace tiltshift::engine {

class KlVae final : public Vae {
 public:
  KlVae(const VaeConfig& config, Weights weights) : Vae(config, std::move(weights)) {}

 protected:
  void LoadAll() override;
  Value Head(Graph& graph, const Value& latent) const override;
  Value Tail(Graph& graph, const Value& features) const override;
  int feature_channels() const override { return config_.block_out_channels.back(); }
  std::vector<int> TailConvolutions() const override;
  Value EncodeLevels(Graph& graph, const Value& photo) const override;
  Value EncodeEnd(Graph& graph, const Value& features) const override;
  int encoder_feature_channels() const override { return config_.block_out_channels.back(); }
  std::vector<int> EncoderConvolutions() const override;

 private:
  struct Level {
    std::vector<ResnetBlock> resnets;
    std::optional<Affine> resample;
  };
  struct Attention {
    Norm norm;
    Affine qkv, out;  // qkv [3c, c]
  };
  // What both have between their levels and the latent: resnet, attention, resnet.
  struct Middle {
    ResnetBlock resnets[2];
    std::optional<Attention> attention;
  };

  void LoadDecoder();
  void LoadEncoder();
  Middle LoadMiddle(const std::string& name);
  // Takes both spellings of the tensors: to_q, and query as files from before diffusers 0.12 have
  // it.
  Attention LoadAttention(const std::string& name);
  Value BuildMiddle(Graph& graph, const Middle& middle, const Value& x) const;
  Value BuildAttention(Graph& graph, const Attention& attention, const Value& x) const;
  Value BuildNormOut(Graph& graph, const Norm& norm_out, const Value& x) const;
  GroupNormSettings norm() const { return {config_.norm_num_groups, 1e-6f}; }
  int top() const { return config_.block_out_channels.back(); }

  struct Network {
    Affine conv_in, conv_out;
    Middle middle;
    Norm norm_out;
    std::vector<Level> levels;  // in the order in which they run
    std::optional<Affine> quant;
  };
  Network decoder_, encoder_;
};

}  // namespace tiltshift::engine
