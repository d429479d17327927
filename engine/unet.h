// The denoiser: diffusers' UNet2DConditionModel (Ronneberger et al. 2015; Rombach et al. 2022), as
// three graphs, so that nothing is computed more often than it changes:
//   time     once a render:  timesteps -> for each resnet, the bias row of its first convolution
//   context  once a prompt:  text embedding -> keys and values of every cross-attention
//   denoise  twice a step:   latent, a time row, a context -> the model's output
//
// A ControlNet (Zhang et al. 2023) is the encoder half of one, which sees a picture beside the
// latent. What it makes of them is added to the denoiser's skips and middle, through a 1x1
// convolution each, in the denoiser's graph. It has a time and a context graph of its own, and one
// more:
//   hint     once a render:  picture -> what is added to the latent's first convolution
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/blocks.h"
#include "engine/model_config.h"

namespace tiltshift::engine {

class UNet {
 public:
  // Errors name the tensor or the file.
  static absl::StatusOr<std::unique_ptr<UNet>> Load(const UNetConfig& config, Weights weights);

  struct TimeGraph {
    Graph graph;
    Value input;  // [steps, TimeInputChannels()], a timestep's sinusoids a row
    // Where the config has them:
    std::optional<Value>
        guidance;  // [steps, guidance_embed_dim], from FillGuidanceInput, the same in each row
    std::optional<Value>
        added;     // [steps, added_dim], pooled text and sinusoids of each size number, likewise
    Value output;  // [steps, TimeChannels()]
  };
  TimeGraph BuildTime(int steps) const;

  struct ContextGraph {
    Graph graph;
    Value input;   // [tokens, cross_attention_dim]
    Value output;  // [tokens, context channels], to Keep
  };
  ContextGraph BuildContext(int tokens) const;

  // Of a ControlNet alone.
  struct HintGraph {
    Graph graph;
    Value picture;  // planar [3, hint_scale * height, hint_scale * width], -1..1
    Value output;   // [height, width, block_out_channels[0]], to Keep
  };
  HintGraph BuildHint(Shape latent) const;

  struct DenoiseGraph {
    Graph graph;
    Value latent;   // planar [in_channels, height, width]
    Value time;     // a row of the time graph's output
    Value context;  // bound: the context graph's output
    Value output;   // planar [out_channels, height, width]
    struct Control {
      Value time, context;  // from its own graphs
      Value hint;           // bound: the hint graph's output
    };
    std::vector<Control> controls;
  };
  // kRows: latent and output are rows of channels, an activation and fp32.
  enum class Ends : uint8_t { kPlanar, kRows };
  // `controls`: ControlNets of as many levels and channels.
  DenoiseGraph BuildDenoise(Shape latent, int tokens, Ends ends = Ends::kPlanar,
                            std::span<const UNet* const> controls = {}) const;

  // The sinusoidal embedding (Vaswani et al. 2017) of a timestep or a size number, of the row's
  // length.
  void FillSinusoids(float number, std::span<float> row) const;
  // That of a guidance scale (Meng et al. 2022), [sin, cos] whatever the config says of timesteps.
  void FillGuidanceInput(float guidance_scale, std::span<float> row) const;
  int TimeInputChannels() const { return config_.block_out_channels[0]; }
  int TimeChannels() const { return time_channels_; }

  const UNetConfig& config() const { return config_; }
  const Weights& weights() const { return set_.weights(); }

 private:
  struct Layer {  // a resnet, and the transformer after it where the level has attention
    ResnetBlock resnet;
    int time_first = 0;
    std::optional<Transformer> transformer;
  };
  struct Level {
    std::vector<Layer> layers;
    std::optional<Affine> resample;
  };
  struct Walk;  // a graph under construction
  struct Features {  // what the encoder makes
    std::vector<Value> skips;
    Value middle;
  };

  UNet(const UNetConfig& config, Weights weights) : config_(config), set_(std::move(weights)) {}
  void LoadAll();
  void LoadDown(int level, std::vector<int>* skips);
  void LoadMid();
  void LoadDecoder(std::vector<int>* skips);
  void LoadUp(int block, std::vector<int>* skips);
  void LoadControl(const std::vector<int>& skips);
  void LoadTimeAndContext();
  Layer LoadLayer(const std::string& block, int index, int in, int level, bool attention);
  std::vector<const Layer*> AllLayers() const;
  // `x`: what the first convolution made.
  Features Encode(const Walk& walk, Value x) const;
  // A ControlNet's, added to a denoiser's.
  DenoiseGraph::Control AddTo(Features* features, Graph& graph, const Value& latent,
                              int tokens) const;

  UNetConfig config_;
  ParameterSet set_;
  Affine conv_in_, conv_out_, time1_, time2_, time_rows_;
  const Parameter* guidance_ = nullptr;  // [channels of the time input, guidance_embed_dim]
  Affine added1_, added2_;
  Norm norm_out_;
  std::vector<Level> down_, up_;
  Level mid_;
  // A ControlNet's.
  std::vector<Affine> hint_;     // in the order in which they run
  std::vector<Affine> outputs_;  // of each skip, then of the middle
  const Parameter* context_ = nullptr;
  int time_channels_ = 0;
  int context_channels_ = 0;
};

}  // namespace tiltshift::engine
