#include "engine/vae_tiny.h"

#include <utility>

namespace tiltshift::engine {
namespace {

Value BuildConv(Graph& graph, const std::string& name, const Affine& conv, const Value& x) {
  return graph.Conv(name, {.x = x, .filter = conv.weight, .bias = conv.bias});
}

}  // namespace

Affine TinyVae::LoadConv(const std::string& name, int in, int out, bool bias) {
  Affine conv;
  conv.weight = set_.Get(name + ".weight", {out, in, 3, 3});
  if (bias) conv.bias = set_.Get(name + ".bias", {out});
  return conv;
}

TinyVae::Block TinyVae::LoadBlock(const std::string& name, int channels) {
  Block block;
  block.name = name;
  for (int i = 0; i < 3; ++i) {  // between them stand the nonlinearities
    block.convs[i] = LoadConv(absl::StrCat(name, ".conv.", 2 * i), channels, channels, true);
  }
  return block;
}

// The layers are numbered through, those without weights as well.
void TinyVae::LoadAll() {
  const int channels = config_.block_out_channels[0];  // of all levels
  const int levels = config_.levels();
  const auto layer = [](const char* network, int index) {
    return absl::StrCat(network, ".layers.", index);
  };
  int index = 0;
  decoder_.conv = LoadConv(layer("decoder", index), config_.latent_channels, channels, true);
  index += 2;
  for (int i = 0; i < levels; ++i) {
    const bool last = i + 1 == levels;
    Level& level = decoder_.levels.emplace_back();
    for (int j = 0; j < config_.tiny_decoder_blocks[i]; ++j) {
      level.blocks.push_back(LoadBlock(layer("decoder", index++), channels));
    }
    if (!last) ++index;
    level.conv =
        LoadConv(layer("decoder", index++), channels, last ? config_.out_channels : channels, last);
  }

  has_encoder_ = set_.Has("encoder.layers.0.weight");
  if (!has_encoder_) return;
  index = 0;
  for (int i = 0; i < levels; ++i) {
    Level& level = encoder_.levels.emplace_back();
    level.conv = LoadConv(layer("encoder", index++), i == 0 ? 3 : channels, channels, i == 0);
    for (int j = 0; j < config_.tiny_encoder_blocks[i]; ++j) {
      level.blocks.push_back(LoadBlock(layer("encoder", index++), channels));
    }
  }
  encoder_.conv = LoadConv(layer("encoder", index), channels, config_.latent_channels, true);
}

Value TinyVae::BuildBlock(Graph& graph, const Block& block, const Value& x) {
  Value h = x;
  for (int i = 0; i < 3; ++i) {
    ConvOp op = {.x = h, .filter = block.convs[i].weight, .bias = block.convs[i].bias};
    if (i == 2) op.residual = x;
    h = graph.Conv(absl::StrCat(block.name, ".conv.", 2 * i), op);
    h = graph.Map(block.name + ".relu", h, Nonlinearity::kRelu);
  }
  return h;
}

Value TinyVae::Head(Graph& graph, const Value& latent) const {
  const Value x =
      graph.FromPlanar("latent", latent, 1 / config_.scaling_factor, config_.shift_factor);
  return graph.Map("clamp", x, Nonlinearity::kSoftClamp);
}

Value TinyVae::Tail(Graph& graph, const Value& features) const {
  Value x = graph.Map("relu", BuildConv(graph, "conv_in", decoder_.conv, features), Nonlinearity::kRelu);
  for (const Level& level : decoder_.levels) {
    const bool last = &level == &decoder_.levels.back();
    for (const Block& block : level.blocks) x = BuildBlock(graph, block, x);
    if (last) break;
    x = BuildConv(graph, "upsample.conv", level.conv, graph.Upsample("upsample", x));
  }
  const Affine& out = decoder_.levels.back().conv;
  return graph.Conv("conv_out", {.x = x, .filter = out.weight, .bias = out.bias}, Element::kFloat);
}

std::vector<int> TinyVae::TailConvolutions() const {
  std::vector<int> convolutions;  // conv_in, or an upsampling's, and the blocks'
  for (const Level& level : decoder_.levels) convolutions.push_back(1 + 3 * static_cast<int>(level.blocks.size()));
  return convolutions;
}

Value TinyVae::EncodeLevels(Graph& graph, const Value& photo) const {
  Value x = graph.FromPlanar("photo", photo, 0.5f, 0.5f);
  for (const Level& level : encoder_.levels) {
    const int stride = &level == &encoder_.levels.front() ? 1 : 2;
    x = graph.Conv(
        "conv", {.x = x, .filter = level.conv.weight, .bias = level.conv.bias, .stride = stride});
    for (const Block& block : level.blocks) x = BuildBlock(graph, block, x);
  }
  return x;
}

Value TinyVae::EncodeEnd(Graph& graph, const Value& features) const {
  return graph.ToPlanar("latent", BuildConv(graph, "conv_out", encoder_.conv, features));
}

std::vector<int> TinyVae::EncoderConvolutions() const {
  std::vector<int> convolutions;  // the blocks', and the first level's own
  for (const Level& level : encoder_.levels) {
    convolutions.push_back(3 * static_cast<int>(level.blocks.size()) + (convolutions.empty() ? 1 : 0));
  }
  return convolutions;
}

}  // namespace tiltshift::engine
