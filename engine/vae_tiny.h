// AutoencoderTiny's two networks (TAESD: Ollin Boer Bohan 2023): convolutions and ReLU, a fiftieth
// of the work of an AutoencoderKL; vae.h says what they are for.
#pragma once

#include <vector>

#include "engine/vae.h"

namespace tiltshift::engine {

class TinyVae final : public Vae {
 public:
  TinyVae(const VaeConfig& config, Weights weights) : Vae(config, std::move(weights)) {}
  DecodeGraph BuildDecode(Shape latent) const override;
  HeadGraph BuildHead(Shape latent) const override;
  DecodeGraph BuildTail(Shape features, Norms norms) const override;
  int halo() const override;
  EncodeGraph BuildEncode(Shape photo) const override;

 protected:
  void LoadAll() override;

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
  Value Head(Graph& graph, const Value& latent) const;
  void Tail(Value x, DecodeGraph* decode) const;
  static Value BuildBlock(Graph& graph, const Block& block, const Value& x);

  Network decoder_, encoder_;
};

}  // namespace tiltshift::engine
