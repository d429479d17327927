#include "engine/cuda/card_layout.h"

#include <algorithm>

#include "kernels/conv.h"

namespace tiltshift::engine::cuda {
namespace {

constexpr size_t kAlignment = 256;

const Value* ResidualOf(const Op& op) {
  const std::optional<Value>* residual = nullptr;
  if (const auto* conv = std::get_if<ConvOp>(&op)) residual = &conv->residual;
  if (const auto* linear = std::get_if<LinearOp>(&op)) residual = &linear->residual;
  return residual != nullptr && residual->has_value() ? &**residual : nullptr;
}

bool Reads(const Op& op, int tensor) {
  return std::ranges::any_of(InputsOf(op), [&](const Value& v) { return v.tensor == tensor; });
}

}  // namespace

CardLayout::CardLayout(const Graph& graph, int batch)
    : graph_(graph),
      batch_(batch),
      folded_into_(graph.nodes().size(), -1),
      folds_(graph.nodes().size(), -1) {
  for (size_t t = 0; t < graph.tensors().size(); ++t) {
    const TensorInfo& info = graph.tensors()[t];
    const int channels = info.shape.channels;
    const int stride = info.element == Element::kFloat ? channels : PaddedChannels(channels);
    home_.push_back({static_cast<int>(t), 0});
    blocks_of_.push_back({info.shape.rows(), stride, 1});
  }
  blocks_.resize(home_.size());
  FindFolds();
  ShareConcats();
  FindLives();
  ShareResiduals();
  for (size_t b = 0; b < blocks_.size(); ++b) {
    if (blocks_of_[b].tensors == 0 || blocks_[b].last < blocks_[b].first) continue;
    const bool floats = graph.tensors()[b].element == Element::kFloat;
    blocks_[b].size = batch * blocks_of_[b].rows * blocks_of_[b].stride * (floats ? 4 : 2);
  }
  bytes_ = PlaceBlocks(blocks_, kAlignment);
}

int CardLayout::SoleReader(int tensor) const {
  if (graph_.tensors()[tensor].read) return -1;
  int reader = -1;
  for (int node = 0; node < static_cast<int>(graph_.nodes().size()); ++node) {
    if (!Reads(graph_.nodes()[node].op, tensor)) continue;
    if (reader >= 0) return -1;
    reader = node;
  }
  return reader;
}

void CardLayout::Fold(int node, int into) {
  folded_into_[node] = into;
  folds_[into] = node;
}

// The operation that does `node` in the end.
int CardLayout::LastOf(int node) const {
  while (folded_into_[node] >= 0) node = folded_into_[node];
  return node;
}

bool CardLayout::NormFoldsInto(const GroupNormOp& norm, const ConvOp& conv) const {
  const bool silu = norm.nonlinearity == Nonlinearity::kSilu;
  if (!silu && norm.nonlinearity != Nonlinearity::kNone) return false;
  const Shape &x = norm.x.shape, &y = conv.y.shape;
  return x.channels % kChannelPiece == 0 &&
         kernels::PrologueGains({.batch = batch_,
                                 .height = x.height,
                                 .width = x.width,
                                 .channels = x.channels,
                                 .out_height = y.height,
                                 .out_width = y.width,
                                 .out_channels = PaddedChannels(y.channels),
                                 .kernel = static_cast<int>(conv.filter->shape[2]),
                                 .stride = conv.stride},
                                silu);
}

// Of an operation whose result `reader` alone reads.
bool CardLayout::FoldsInto(const Op& op, int reader) const {
  if (folds_[reader] >= 0) return false;
  const Op& next = graph_.nodes()[reader].op;
  const Value& made = OutputOf(op);
  if (const auto* conv = std::get_if<ConvOp>(&next)) {
    const bool residual = conv->residual && conv->residual->tensor == made.tensor;
    if (residual || conv->x.shape != made.shape) return false;
    if (const auto* norm = std::get_if<GroupNormOp>(&op)) return NormFoldsInto(*norm, *conv);
    const auto* up = std::get_if<UpsampleOp>(&op);
    return up != nullptr && up->y.shape.height == 2 * up->x.shape.height &&
           up->y.shape.width == 2 * up->x.shape.width && conv->stride == 1;
  }
  if (const auto* linear = std::get_if<LinearOp>(&op)) {
    const auto* geglu = std::get_if<GegluOp>(&next);
    return geglu != nullptr && !linear->residual && linear->nonlinearity == Nonlinearity::kNone &&
           geglu->x.shape == made.shape && made.shape.channels % (2 * kChannelPiece) == 0;
  }
  const auto* map = std::get_if<MapOp>(&next);
  return std::holds_alternative<ConvOp>(op) && map != nullptr && map->x.shape == made.shape &&
         graph_.element(made) == graph_.element(map->y);
}

void CardLayout::FindFolds() {
  for (int node = 0; node < static_cast<int>(graph_.nodes().size()); ++node) {
    const Op& op = graph_.nodes()[node].op;
    const int reader = SoleReader(OutputOf(op).tensor);
    if (reader >= 0 && FoldsInto(op, reader)) Fold(node, reader);
  }
}

void CardLayout::MoveTo(int tensor, int block, int channel) {
  --blocks_of_[home_[tensor].block].tensors;
  ++blocks_of_[block].tensors;
  home_[tensor] = {block, channel};
}

// A part that nothing else has moved yet, and that is a tensor of its own, is made where it is
// wanted.
void CardLayout::ShareConcats() {
  for (const Node& node : graph_.nodes()) {
    const auto* concat = std::get_if<ConcatOp>(&node.op);
    if (concat == nullptr || concat->a.tensor == concat->b.tensor) continue;
    if (concat->a.shape.channels % kChannelPiece != 0) continue;
    if (concat->b.shape.channels % kChannelPiece != 0) continue;
    int channel = 0;
    for (const Value* part : {&concat->a, &concat->b}) {
      const TensorInfo& info = graph_.tensors()[part->tensor];
      const bool outside = info.bound || info.written || info.read;
      const bool alone =
          home_[part->tensor].block == part->tensor && blocks_of_[part->tensor].tensors == 1;
      if (!outside && alone && part->shape == info.shape && info.element == Element::kActivation) {
        MoveTo(part->tensor, concat->y.tensor, channel);
      }
      channel += part->shape.channels;
    }
  }
}

void CardLayout::FindLives() {
  const int end = static_cast<int>(graph_.nodes().size());
  for (MemoryBlock& block : blocks_) block = {.first = end, .last = -1};
  const auto use = [&](int tensor, int when) {
    MemoryBlock& block = blocks_[home_[tensor].block];
    block.first = std::min(block.first, when);
    block.last = std::max(block.last, when);
  };
  for (int node = 0; node < end; ++node) {
    const Op& op = graph_.nodes()[node].op;
    const int when = LastOf(node);
    for (const Value& value : InputsOf(op)) {
      const int folded = folds_[node];
      if (folded >= 0 && value.tensor == OutputOf(graph_.nodes()[folded].op).tensor) continue;
      use(value.tensor, when);
    }
    if (!IsFolded(node)) use(OutputOf(op).tensor, node);
  }
  for (size_t t = 0; t < graph_.tensors().size(); ++t) {
    const TensorInfo& info = graph_.tensors()[t];
    const int tensor = static_cast<int>(t);
    if (info.bound || info.written) use(tensor, -1);
    if (info.bound || info.written || info.read) use(tensor, end);
  }
}

// Whether what is folded in `node` reads it, at other positions than `node` writes.
bool CardLayout::ReadsFolded(int node, int tensor) const {
  const int folded = folds_[node];
  return folded >= 0 && (Reads(graph_.nodes()[folded].op, tensor) || ReadsFolded(folded, tensor));
}

void CardLayout::ShareResiduals() {
  for (int node = 0; node < static_cast<int>(graph_.nodes().size()); ++node) {
    const Op& op = graph_.nodes()[node].op;
    const Value* from = ResidualOf(op);
    if (from == nullptr || IsFolded(node) || ReadsFolded(node, from->tensor)) continue;
    const Value& to = OutputOf(op);
    const int target = home_[to.tensor].block, source = home_[from->tensor].block;
    int uses = 0;
    for (const Value& value : InputsOf(op)) uses += value.tensor == from->tensor;
    const bool whole = from->shape == graph_.tensors()[from->tensor].shape &&
                       home_[from->tensor].channel == 0 &&
                       blocks_of_[source].stride == blocks_of_[target].stride;
    const bool alone = target == to.tensor && blocks_of_[target].tensors == 1;
    if (uses != 1 || !whole || !alone || blocks_[source].last != node ||
        graph_.element(*from) != graph_.element(to)) {
      continue;
    }
    blocks_[source].last = blocks_[target].last;
    MoveTo(to.tensor, source, 0);
  }
}

size_t CardLayout::ElementBytes(const Value& value) const {
  return graph_.element(value) == Element::kFloat ? 4 : 2;
}

size_t CardLayout::Offset(const Value& value, int sample) const {
  const Home& home = home_[value.tensor];
  const BlockRows& rows = blocks_of_[home.block];
  const int64_t number = sample * rows.rows * rows.stride + home.channel + value.channel;
  return blocks_[home.block].offset + number * ElementBytes(value);
}

}  // namespace tiltshift::engine::cuda
