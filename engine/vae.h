// Between pictures and latents: diffusers' AutoencoderKL (Esser et al. 2021) and AutoencoderTiny
// (TAESD), each as two graphs over the parameters of one file.
#pragma once

#include <memory>

#include "engine/blocks.h"
#include "engine/model_config.h"

namespace tiltshift::engine {

class Vae {
 public:
  // Picks the kind by the config. Errors name the tensor or the file. A file may lack the encoder
  // as a whole; models that only render text need none.
  static absl::StatusOr<std::unique_ptr<Vae>> Load(const VaeConfig& config, Weights weights);
  virtual ~Vae() = default;

  struct DecodeGraph {
    Graph graph;
    Value latent;   // planar [latent_channels, height, width], as the UNet leaves it
    Value picture;  // fp32 [height * scale, width * scale, out_channels]
    // The picture in about -1..1 is that times `range` plus `shift`.
    float range = 1;
    float shift = 0;
  };
  virtual DecodeGraph BuildDecode(Shape latent) const = 0;

  // The same in two parts, for pictures that are decoded in tiles. The head looks at all of the
  // latent at once: its work and memory are small. The tail makes of its features, any rectangle of
  // them, that part of the picture; what it makes within halo() cells of an edge that is not the
  // picture's is not right, and the rest is, to the bit, as long as its group norms are given the
  // whole picture's moments.
  struct HeadGraph {
    Graph graph;
    Value latent;
    Value features;  // fp32 [height, width, feature channels]
  };
  virtual HeadGraph BuildHead(Shape latent) const = 0;
  // `latent` is then the features of the rectangle, fp32 [height, width, feature channels].
  virtual DecodeGraph BuildTail(Shape features, Norms norms) const = 0;
  virtual int halo() const = 0;

  struct EncodeGraph {
    Graph graph;
    Value photo;  // planar [3, height, width], -1..1; both sides multiples of the config's scale()
    // Planar [moment channels, height / scale, width / scale]: the means and, where there are twice
    // as many channels as a latent has, the logarithms of their variances.
    Value moments;
  };
  virtual EncodeGraph BuildEncode(Shape photo) const = 0;
  bool has_encoder() const { return has_encoder_; }

  const VaeConfig& config() const { return config_; }
  const Weights& weights() const { return set_.weights(); }

 protected:
  Vae(const VaeConfig& config, Weights weights) : config_(config), set_(std::move(weights)) {}
  virtual void LoadAll() = 0;

  VaeConfig config_;
  ParameterSet set_;
  bool has_encoder_ = false;
};

}  // namespace tiltshift::engine
