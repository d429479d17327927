// Between pictures and latents: diffusers' AutoencoderKL (Esser et al. 2021) and AutoencoderTiny
// (TAESD), each as two graphs over the parameters of one file.
#pragma once

#include <memory>
#include <vector>

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
  DecodeGraph BuildDecode(Shape latent) const;

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
  HeadGraph BuildHead(Shape latent) const;
  // `latent` is then the features of the rectangle, fp32 [height, width, feature channels].
  DecodeGraph BuildTail(Shape features, Norms norms) const;
  int halo() const;

  struct EncodeGraph {
    Graph graph;
    Value photo;  // planar [3, height, width], -1..1; both sides multiples of the config's scale()
    // Planar [moment channels, height / scale, width / scale]: the means and, where there are twice
    // as many channels as a latent has, the logarithms of their variances.
    Value moments;
  };
  EncodeGraph BuildEncode(Shape photo) const;

  // The same in two parts, for photos that are encoded in tiles, as the decoder's: here the tiles come first, and
  // their features are right but for encoder_halo() cells within an edge that is not the photo's. A tile begins at a
  // whole cell.
  struct EncodeLevelsGraph {
    Graph graph;
    Value photo;
    Value features;  // fp32 [height / scale, width / scale, feature channels]
  };
  EncodeLevelsGraph BuildEncodeLevels(Shape photo, Norms norms) const;
  struct EncodeEndGraph {
    Graph graph;
    Value features;
    Value moments;
  };
  EncodeEndGraph BuildEncodeEnd(Shape features) const;
  int encoder_halo() const;
  bool has_encoder() const { return has_encoder_; }

  const VaeConfig& config() const { return config_; }
  const Weights& weights() const { return set_.weights(); }

 protected:
  Vae(const VaeConfig& config, Weights weights) : config_(config), set_(std::move(weights)) {}
  virtual void LoadAll() = 0;

  // The decoder in two: what looks at all of the latent at once, and the rest.
  virtual Value Head(Graph& graph, const Value& latent) const = 0;
  virtual Value Tail(Graph& graph, const Value& features) const = 0;
  virtual int feature_channels() const = 0;
  // How many convolutions of 3x3 follow each other in the tail at each level, the picture's own not counted.
  virtual std::vector<int> TailConvolutions() const = 0;
  // The encoder in two: the levels, from a planar photo, and the rest, to planar moments.
  virtual Value EncodeLevels(Graph& graph, const Value& photo) const = 0;
  virtual Value EncodeEnd(Graph& graph, const Value& features) const = 0;
  virtual int encoder_feature_channels() const = 0;
  // How many convolutions of 3x3 follow each other at each level, the finest first; those of stride 2 between levels not
  // counted.
  virtual std::vector<int> EncoderConvolutions() const = 0;
  // DecodeGraph's.
  struct Range {
    float range = 1, shift = 0;
  };
  virtual Range picture_range() const { return {}; }

  VaeConfig config_;
  ParameterSet set_;
  bool has_encoder_ = false;

 private:
  void Finish(DecodeGraph& decode, const Value& features) const;
};

}  // namespace tiltshift::engine
