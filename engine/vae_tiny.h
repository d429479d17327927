// AutoencoderTiny's two networks (TAESD: Ollin Boer Bohan 2023): convolutions and ReLU, a fiftieth
// of the work of an AutoencoderKL; vae.h says what they are for.
#pragma once

#include <vector>

#include "engine/vae.h"

namespace tiltshift::engine {

class TinyVae final : public Vae {
 public:
  TinyVae(const VaeConfig& config, Weights weights) : Vae(config, std::move(weights)) {}

 protected:
  void LoadAll() override;
  Value Head(Graph& graph, const Value& latent) const override;
  Value Tail(Graph& graph, const Value& features) const override;
  int feature_channels() const override { return config_.latent_channels; }
  std::vector<int> TailConvolutions() const override;
  Value EncodeLevels(Graph& graph, const Value& photo) const override;
  Value EncodeEnd(Graph& graph, const Value& features) const override;
  int encoder_feature_channels() const override { return config_.block_out_channels[0]; }
  std::vector<int> EncoderConvolutions() const override;
  Range picture_range() const override { return {2, -1}; }  // it works in 0..1

 private:
  // y = relu(x + conv(relu(conv(relu(conv(x)))))
  struct Block {
    std::string name;
    Affine convs[3];
  };
  struct Level {
    Affine conv;  // before the blocks of an encoder's level, after those of a decoder's
    std::vector<Block> blocks;
  };
  struct Network {
    Affine conv;  // a decoder's first, an encoder's last
    std::vector<Level> levels;
  };

  Affine LoadConv(const std::string& name, int in, int out, bool bias);
  Block LoadBlock(const std::string& name, int channels);
  static Value BuildBlock(Graph& graph, const Block& block, const Value& x);

  Network decoder_, encoder_;
};

}  // namespace tiltshift::engine
