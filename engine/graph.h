// What a network computes, as data: the models write graphs, a backend compiles and runs them.
//
// A graph is one forward of one sample at one size. Activations are [height, width, channels], channels
// fastest (NHWC), so a picture's positions and a text's tokens are both rows; a value names a tensor or a
// range of its channels. Because the whole forward is known before it runs, a backend plans its memory and
// makes its primitives once, and running allocates nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine/parameter.h"

namespace tiltshift::engine {

// kActivation is the compiled precision (bf16 or fp32); kFloat is always fp32.
enum class Element : uint8_t { kActivation, kFloat };

struct Shape {
  int height = 1;
  int width = 1;
  int channels = 0;

  int64_t rows() const { return int64_t{height} * width; }
  int64_t size() const { return rows() * channels; }
  bool operator==(const Shape&) const = default;
};

// A tensor of the graph, or channels [channel, channel + shape.channels) of it.
struct Value {
  int tensor = -1;
  int channel = 0;
  Shape shape;
};

// kSoftClamp: 3 tanh(x / 3), the small autoencoders' limit on a latent.
enum class Nonlinearity : uint8_t { kNone, kSilu, kGelu, kQuickGelu, kRelu, kSoftClamp };

// One struct an operation. `x` is the main input; y is what it makes.

// y [ceil(h/stride), ceil(w/stride), out] = filter * x + bias + residual; padding is kernel / 2, with `pad_end`
// none above and left, as the VAE's encoder halves its pictures. `row_bias`, an fp32 row of `out` channels, replaces the bias parameter
// where set.
struct ConvOp {
  Value x, y;
  const Parameter* filter = nullptr;
  const Parameter* bias = nullptr;  // may be null
  std::optional<Value> row_bias;
  std::optional<Value> residual;
  int stride = 1;
  bool pad_end = false;  // with stride 2
};

// y = f(x W^T + bias) + residual, a row at a time; W may be stored as a 1x1 filter. `geglu`: y is what GegluOp makes
// of that, without f or residual.
struct LinearOp {
  Value x, y;
  const Parameter* matrix = nullptr;
  const Parameter* bias = nullptr;  // may be null
  std::optional<Value> residual;
  Nonlinearity nonlinearity = Nonlinearity::kNone;
  bool geglu = false;  // by FoldGeglu alone
};

// y = f((x - mean) / sqrt(variance + eps) * scale + shift), moments over a group's channels at all positions
// (Wu and He 2018). `moments` replaces x's own where set: a row as MomentsOp makes it.
struct GroupNormOp {
  Value x, y;
  const Parameter* scale = nullptr;
  const Parameter* shift = nullptr;
  int groups = 1;
  float eps = 1e-5f;
  Nonlinearity nonlinearity = Nonlinearity::kNone;
  std::optional<Value> moments;
};

// y [2 * groups] in fp32: of each group of x's channels the mean, then of each the mean of the squares.
struct MomentsOp {
  Value x, y;
  int groups = 1;
};

// The same with moments over each row's channels (Ba et al. 2016).
struct LayerNormOp {
  Value x, y;
  const Parameter* scale = nullptr;
  const Parameter* shift = nullptr;
  float eps = 1e-5f;
};

// y = softmax(q k^T / sqrt(d)) v for each head; head i has channels [i*d, (i+1)*d). Rows of q and y are
// queries, rows of k and v are keys; causal: query i sees keys 0..i.
struct AttentionOp {
  Value q, k, v, y;
  int heads = 1;
  bool causal = false;
};

// x [rows, 2c] -> y [rows, c] = first half * gelu(second half), gelu with erf (Shazeer 2020).
struct GegluOp {
  Value x, y;
};

// y = f(x), element by element; with kNone it converts between element types.
struct MapOp {
  Value x, y;
  Nonlinearity nonlinearity = Nonlinearity::kNone;
};

// y = [a, b] along the channels.
struct ConcatOp {
  Value a, b, y;
};

// y [2h or 2h - 1, 2w or 2w - 1, c]: each position four times, and the last line and column cut where
// the side is odd, which is what torch's nearest interpolation to that size gives.
struct UpsampleOp {
  Value x, y;
};

// x is planar [c, h, w] fp32, as latents are kept and files hold them; y [h, w, c] = x * scale + shift.
struct FromPlanarOp {
  Value x, y;
  float scale = 1;
  float shift = 0;
};

// The way back, to fp32.
struct ToPlanarOp {
  Value x, y;
};

using Op = std::variant<ConvOp, LinearOp, GroupNormOp, MomentsOp, LayerNormOp, AttentionOp, GegluOp, MapOp, ConcatOp,
                        UpsampleOp, FromPlanarOp, ToPlanarOp>;

struct Node {
  std::string name;  // the parameter's or the block's, for profiles
  Op op;
};

struct TensorInfo {
  Shape shape;
  Element element = Element::kActivation;
  bool bound = false;    // lives outside: the caller binds a buffer before each run
  bool written = false;  // an input that the caller writes
  bool read = false;     // an output that the caller reads
};

// Where group norms have their moments from. A part of a picture must not be normalised by its own where it is to fit
// the parts beside it.
enum class Norms : uint8_t {
  kOwn,
  kMeasured,  // their own, which are outputs as well
  kGiven,     // they are inputs; their own are outputs
};

// Builds a graph in the order in which it will run. Shapes that do not fit are a programmer's error.
class Graph {
 public:
  Value Input(Shape shape, Element element);
  Value Bound(Shape shape, Element element);
  void Output(const Value& value);
  // Of the group norms from here on. A row for each of them that has its moments measured or given.
  void SetNorms(Norms norms) { norms_ = norms; }
  const std::vector<Value>& measured_moments() const { return measured_moments_; }
  const std::vector<Value>& given_moments() const { return given_moments_; }

  // Each adds its operation, makes y, and returns it.
  Value Conv(std::string name, ConvOp op, Element element = Element::kActivation);
  Value Linear(std::string name, LinearOp op, Element element = Element::kActivation);
  Value GroupNorm(std::string name, GroupNormOp op);
  Value LayerNorm(std::string name, LayerNormOp op);
  Value Attention(std::string name, AttentionOp op);
  Value Geglu(std::string name, const Value& x);
  Value Map(std::string name, const Value& x, Nonlinearity nonlinearity,
            Element element = Element::kActivation);
  Value Concat(std::string name, const Value& a, const Value& b);
  Value Upsample(std::string name, const Value& x) {
    return Upsample(std::move(name), x, 2 * x.shape.height, 2 * x.shape.width);
  }
  Value Upsample(std::string name, const Value& x, int height, int width);
  Value FromPlanar(std::string name, const Value& x, float scale, float shift);
  Value ToPlanar(std::string name, const Value& x);

  // Makes one operation of each linear layer and the GEGLU that alone reads it.
  void FoldGeglu();

  static Value Channels(const Value& value, int first, int count);

  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  Element element(const Value& value) const { return tensors_[value.tensor].element; }

 private:
  Value NewTensor(Shape shape, Element element);
  Value Add(std::string name, Op op, Value y);

  std::vector<Node> nodes_;
  std::vector<TensorInfo> tensors_;
  Norms norms_ = Norms::kOwn;
  std::vector<Value> measured_moments_, given_moments_;
};

// The tensors an operation reads, and the one it writes.
std::vector<Value> InputsOf(const Op& op);
const Value& OutputOf(const Op& op);
// "conv 3x3", "linear", ...: what a profile groups by.
std::string KindOf(const Op& op);
// Two a multiply-add of convolutions, linear layers and attention; the rest counts as none.
double FlopsOf(const Op& op);
double FlopsOf(const Graph& graph);

}  // namespace tiltshift::engine
