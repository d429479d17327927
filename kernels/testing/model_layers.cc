#include "kernels/testing/model_layers.h"

#include <algorithm>
#include <set>
#include <string>

namespace tiltshift::kernels::testing {
namespace {

// What config.json says. `side`: of the latent at the size the model was trained for. A level has
// an attention where `attends` is set; head_dim 0: `heads` of them, whatever their size.
struct Model {
  std::string name;
  int side;
  std::vector<int> channels;
  std::vector<bool> attends;
  int level_layers, heads, head_dim, groups, text, added = 0;
  struct TextEncoder {
    int width, head_dim;
    Activation activation;
  };
  std::vector<TextEncoder> encoders;
  std::vector<int> picture_channels;  // of the VAE
};

const Model kModels[] = {
    {.name = "sd15",
     .side = 64,
     .channels = {320, 640, 1280, 1280},
     .attends = {true, true, true, false},
     .level_layers = 2,
     .heads = 8,
     .groups = 32,
     .text = 768,
     .encoders = {{768, 64, Activation::kQuickGelu}},
     .picture_channels = {128, 256, 512, 512}},
    {.name = "sd21",
     .side = 96,
     .channels = {320, 640, 1280, 1280},
     .attends = {true, true, true, false},
     .level_layers = 2,
     .head_dim = 64,
     .groups = 32,
     .text = 1024,
     .encoders = {{1024, 64, Activation::kGelu}},
     .picture_channels = {128, 256, 512, 512}},
    {.name = "sdxl",
     .side = 128,
     .channels = {320, 640, 1280},
     .attends = {false, true, true},
     .level_layers = 2,
     .head_dim = 64,
     .groups = 32,
     .text = 2048,
     .added = 2816,
     .encoders = {{768, 64, Activation::kQuickGelu}, {1280, 64, Activation::kGelu}},
     .picture_channels = {128, 256, 512, 512}},
    {.name = "diorama",
     .side = 32,
     .channels = {64, 96, 160},
     .attends = {false, true, true},
     .level_layers = 1,
     .heads = 4,
     .groups = 16,
     .text = 128,
     .encoders = {{128, 32, Activation::kQuickGelu}},
     .picture_channels = {32, 64, 96, 128}},
};

// Odd, and no multiple of a tile.
constexpr int kHeight = 5, kWidth = 9, kRows = kHeight * kWidth, kTextRows = 77;

class Collector {
 public:
  explicit Collector(ModelLayers* layers) : layers_(*layers) {}

  void Add(const Model& model) {
    model_ = &model;
    AddUNet();
    AddPictureCoder();
    for (const Model::TextEncoder& encoder : model.encoders) AddText(encoder);
  }

 private:
  // Whether nobody had it before; then `name` has become its name.
  bool IsNew(std::string& name) {
    if (!seen_.insert(name).second) return false;
    name = model_->name + "_" + name;
    return true;
  }
  static std::string Of(const char* what, std::initializer_list<int> sizes) {
    std::string name = what;
    for (const int size : sizes) name += "_" + std::to_string(size);
    return name;
  }

  void Gemm(const char* what, int positions, GemmCase c) {
    c.splits = ChooseSplit(positions, c.shape.n, c.shape.k, c.shape.k);
    c.name = Of(what, {c.shape.k, c.shape.n});
    if (c.splits > 1) c.name += "_split";
    if (IsNew(c.name)) layers_.gemms.push_back(c);
  }
  void Linear(const char* what, int positions, int k, int n, Activation f = Activation::kNone) {
    Gemm(what, positions,
         {.shape = {std::min(positions, kRows), n, k}, .activation = f, .bias = true});
  }
  void Residual(const char* what, int positions, int k, int n) {
    Gemm(what, positions,
         {.shape = {std::min(positions, kRows), n, k}, .bias = true, .residual = true});
  }

  // `side`: of y.
  void Conv(const char* what, int side, ConvCase c) {
    ConvShape& s = c.shape;
    s.channels = (s.channels + 7) / 8 * 8;  // as the backend pads them
    ConvShape whole = s;
    whole.out_height = whole.out_width = side;
    whole.height = whole.width = s.upsample ? side / 2 : side * s.stride;
    c.prologue = c.prologue && PrologueGains(whole, c.silu);
    c.silu = c.silu && c.prologue;
    c.splits = ChooseSplit(int64_t{side} * side, s.out_channels, s.channels,
                           int64_t{s.kernel} * s.kernel * s.channels);
    c.bias = true;
    s.height = s.upsample ? kHeight : kHeight * s.stride;
    s.width = s.upsample ? 3 : kWidth * s.stride;
    s.out_height = s.upsample ? 2 * kHeight : kHeight;
    s.out_width = s.upsample ? 2 * 3 : kWidth;
    s.pad = s.kernel / 2;
    c.name = Of(what, {s.channels, s.out_channels});
    if (c.splits > 1) c.name += "_split";
    if (c.prologue) c.name += "_normed";
    if (IsNew(c.name)) layers_.convs.push_back(c);
  }
  static ConvShape Channels(int in, int out, int kernel = 3) {
    return {.channels = in, .out_channels = out, .kernel = kernel};
  }

  void GroupNorm(int channels, bool silu) {
    NormCase c = {.name = Of(silu ? "norm_silu" : "norm", {channels, model_->groups}),
                  .shape = {.positions = kRows, .channels = channels, .groups = model_->groups},
                  .silu = silu};
    if (IsNew(c.name)) layers_.norms.push_back(c);
  }
  void LayerNorm(int channels) {
    NormCase c = {.name = Of("layer_norm", {channels}),
                  .shape = {.positions = kRows, .channels = channels, .groups = 0}};
    if (IsNew(c.name)) layers_.norms.push_back(c);
  }
  void Attention(const char* what, int head_dim, int positions, int keys, bool causal = false) {
    AttentionCase c = {.name = Of(what, {head_dim, keys}),
                       .shape = {.head_dim = head_dim,
                                 .queries = causal ? keys : std::min(positions, kRows),
                                 .keys = keys,
                                 .causal = causal}};
    if (IsNew(c.name)) layers_.attentions.push_back(c);
  }

  void ResidualBlock(int side, int in, int out, bool timed) {
    GroupNorm(in, true);
    GroupNorm(out, true);
    for (const int from : {in, out}) {
      Conv("conv", side,
           {.shape = Channels(from, out),
            .prologue = true,
            .silu = true,
            .sample_bias = timed,
            .residual = from == out});
    }
    if (in != out) Conv("shortcut", side, {.shape = Channels(in, out, 1)});
    if (timed) Linear("time", 1, 4 * model_->channels[0], out);
  }

  void Transformer(int side, int c) {
    const int positions = side * side, heads = model_->heads;
    const int head_dim = heads > 0 ? c / heads : model_->head_dim;
    GroupNorm(c, false);
    LayerNorm(c);
    Conv("project", side, {.shape = Channels(c, c, 1), .prologue = true});
    Linear("qkv", positions, c, 3 * c);
    Attention("self", head_dim, positions, positions);
    Linear("q", positions, c, c);
    Linear("text_kv", kTextRows, model_->text, 2 * c);
    Attention("text", head_dim, positions, kTextRows);
    Residual("out", positions, c, c);
    Linear("geglu", positions, c, 8 * c, Activation::kGeglu);
    Residual("down", positions, 4 * c, c);
  }

  void AddUNet() {
    const std::vector<int>& channels = model_->channels;
    const int levels = static_cast<int>(channels.size()), time = 4 * channels[0];
    Linear("time_in", 1, channels[0], time, Activation::kSilu);
    Linear("time_out", 1, time, time);
    if (model_->added > 0) Linear("added", 1, model_->added, time, Activation::kSilu);
    int in = channels[0], side = model_->side;
    std::vector<int> skips = {in};
    Conv("latent_in", side, {.shape = Channels(4, in)});
    const auto layer = [&](int level, int from) {
      ResidualBlock(side, from, channels[level], true);
      if (model_->attends[level]) Transformer(side, channels[level]);
      in = channels[level];
    };
    for (int level = 0; level < levels; ++level) {
      for (int i = 0; i < model_->level_layers; ++i) {
        layer(level, in);
        skips.push_back(in);
      }
      if (level == levels - 1) break;
      side /= 2;
      ConvShape down = Channels(in, in);
      down.stride = 2;
      Conv("downsample", side, {.shape = down});
      skips.push_back(in);
    }
    ResidualBlock(side, in, in, true);
    Transformer(side, in);
    for (int level = levels - 1; level >= 0; --level) {
      for (int i = 0; i <= model_->level_layers; ++i) {
        layer(level, in + skips.back());
        skips.pop_back();
      }
      if (level == 0) break;
      side *= 2;
      Upsample(side, in);
    }
    Conv("latent_out", side,
         {.shape = Channels(in, 4), .prologue = true, .silu = true, .float_output = true});
  }
  void Upsample(int side, int channels) {
    ConvShape up = Channels(channels, channels);
    up.upsample = true;
    Conv("upsample", side, {.shape = up});
  }

  // The decoder; the encoder's layers are the same, but for those that halve the picture.
  void AddPictureCoder() {
    const std::vector<int>& channels = model_->picture_channels;
    int in = channels.back(), side = model_->side;
    Conv("picture_latent_in", side, {.shape = Channels(4, in)});
    ResidualBlock(side, in, in, false);
    Linear("picture_qkv", side * side, in, 3 * in);
    Attention("picture", in, side * side, side * side);
    Residual("picture_out", side * side, in, in);
    for (int level = static_cast<int>(channels.size()) - 1; level >= 0; --level) {
      ResidualBlock(side, in, channels[level], false);
      in = channels[level];
      if (level == 0) break;
      side *= 2;
      Upsample(side, in);
      ConvShape down = Channels(in, in);
      down.stride = 2;
      Conv("picture_downsample", side / 2, {.shape = down});
    }
    Conv("picture_in", side, {.shape = Channels(3, in)});
    Conv("picture_out", side,
         {.shape = Channels(in, 3), .prologue = true, .silu = true, .float_output = true});
  }

  void AddText(const Model::TextEncoder& encoder) {
    const int c = encoder.width;
    LayerNorm(c);
    Linear("qkv", kTextRows, c, 3 * c);
    Attention("causal", encoder.head_dim, kTextRows, kTextRows, true);
    Residual("out", kTextRows, c, c);
    Linear("wide", kTextRows, c, 4 * c, encoder.activation);
    Residual("down", kTextRows, 4 * c, c);
  }

  ModelLayers& layers_;
  const Model* model_ = nullptr;
  std::set<std::string> seen_;
};

}  // namespace

const ModelLayers& AllModelLayers() {
  static const ModelLayers layers = [] {
    ModelLayers result;
    Collector collector(&result);
    for (const Model& model : kModels) collector.Add(model);
    return result;
  }();
  return layers;
}

}  // namespace tiltshift::kernels::testing
