// The blocks that the UNet and the VAE decoder are made of, as in diffusers' ResnetBlock2D,
// Transformer2DModel and Attention. Each loads its parameters by the names of a diffusers file and adds
// itself to a graph.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/graph.h"
#include "engine/parameter_set.h"

namespace tiltshift::engine {

struct Norm {
  const Parameter* scale = nullptr;
  const Parameter* shift = nullptr;
  static Norm Load(ParameterSet& set, const std::string& name, int channels);
};

struct Affine {  // a filter or a matrix, and its bias
  const Parameter* weight = nullptr;
  const Parameter* bias = nullptr;
  static Affine Conv3x3(ParameterSet& set, const std::string& name, int in, int out);
  // Stored as Linear [out, in] or as Conv2d [out, in, 1, 1].
  enum class Stored { kLinear, kConv1x1 };
  static Affine Matrix(ParameterSet& set, const std::string& name, int in, int out,
                       Stored stored = Stored::kLinear);
};

struct GroupNormSettings {
  int groups = 32;
  float eps = 1e-5f;
};

// x -> norm, SiLU, conv (+ time) -> norm, SiLU, conv -> + x, through a 1x1 where the channels change.
struct ResnetBlock {
  std::string name;
  GroupNormSettings norm;
  int in = 0, out = 0;
  Norm norm1, norm2;
  Affine conv1, conv2;
  std::optional<Affine> shortcut;

  static ResnetBlock Load(ParameterSet& set, const std::string& name, int in, int out,
                          GroupNormSettings norm);
  // `time` is the row that stands in for conv1's bias: its bias and the projected time embedding in one.
  Value Build(Graph& graph, const Value& x, const std::optional<Value>& time) const;
};

// Where a transformer block's cross-attention finds the text's keys and values: channels
// [first, first + 2 * inner) of the context row, keys before values.
struct ContextSpan {
  int first = 0;
  std::string key_name, value_name;  // [inner, cross_attention_dim] each
};

struct TransformerBlock {
  std::string name;
  int inner = 0, heads = 1;
  Norm norm1, norm2, norm3;
  const Parameter* qkv = nullptr;  // [3 * inner, inner]
  const Parameter* cross_q = nullptr;
  ContextSpan context;
  Affine self_out, cross_out, ff_in, ff_out;

  Value Build(Graph& graph, Value x, const Value& context_row) const;
};

struct TransformerSettings {
  int channels = 0;
  int heads = 1;
  int layers = 1;
  int groups = 32;
  bool linear_projection = false;
};

// norm -> projection in -> blocks -> projection out -> + x.
struct Transformer {
  std::string name;
  TransformerSettings settings;
  Norm norm;
  Affine proj_in, proj_out;
  std::vector<TransformerBlock> blocks;

  // `context_channels` counts the context row's channels given out so far.
  static Transformer Load(ParameterSet& set, const std::string& name, const TransformerSettings& settings,
                          int* context_channels);
  Value Build(Graph& graph, const Value& x, const Value& context_row) const;
};

}  // namespace tiltshift::engine
