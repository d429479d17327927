#include "engine/cpu/memory_plan.h"

#include <algorithm>

#include "engine/cpu/aligned.h"

namespace tiltshift::engine::cpu {
namespace {

const std::optional<Value>* ResidualOf(const Op& op) {
  if (const auto* conv = std::get_if<ConvOp>(&op)) return &conv->residual;
  if (const auto* linear = std::get_if<LinearOp>(&op)) return &linear->residual;
  return nullptr;
}

}  // namespace

MemoryPlan::MemoryPlan(const Graph& graph, size_t activation_bytes)
    : activation_bytes_(activation_bytes),
      scratch_of_(graph.nodes().size(), -1),
      in_place_(graph.nodes().size(), 0) {
  FindLives(graph);
  ShareResiduals(graph);
}

void MemoryPlan::FindLives(const Graph& graph) {
  const int end = static_cast<int>(graph.nodes().size());
  for (const TensorInfo& tensor : graph.tensors()) {
    MemoryBlock block;
    block.size = tensor.bound ? 0 : tensor.shape.size() * ElementBytes(tensor.element);
    block.first = end;
    block.last = -1;
    if (tensor.written) {  // the caller writes once and may run again
      block.first = -1;
      block.last = end;
    }
    if (tensor.read) block.last = end;
    block_of_.push_back(static_cast<int>(blocks_.size()));
    blocks_.push_back(block);
  }
  for (int node = 0; node < end; ++node) {
    const Op& op = graph.nodes()[node].op;
    const auto use = [&](const Value& value) {
      MemoryBlock& block = blocks_[value.tensor];
      block.first = std::min(block.first, node);
      block.last = std::max(block.last, node);
    };
    for (const Value& value : InputsOf(op)) use(value);
    use(OutputOf(op));
  }
  for (MemoryBlock& block : blocks_) {
    if (block.last < block.first) block.size = 0;  // nobody uses it
  }
}

void MemoryPlan::ShareResiduals(const Graph& graph) {
  for (int node = 0; node < static_cast<int>(graph.nodes().size()); ++node) {
    const Op& op = graph.nodes()[node].op;
    const std::optional<Value>* residual = ResidualOf(op);
    if (residual == nullptr || !residual->has_value()) continue;
    const Value& from = **residual;
    const Value& to = OutputOf(op);
    const TensorInfo& info = graph.tensors()[from.tensor];
    int uses = 0;
    for (const Value& value : InputsOf(op)) uses += value.tensor == from.tensor;
    MemoryBlock& block = blocks_[block_of_[from.tensor]];
    if (uses > 1 || info.bound || block.last != node || from.shape != info.shape ||
        info.element != graph.element(to)) {
      continue;
    }
    block.last = blocks_[block_of_[to.tensor]].last;
    blocks_[block_of_[to.tensor]].size = 0;
    block_of_[to.tensor] = block_of_[from.tensor];
    in_place_[node] = 1;
  }
}

void MemoryPlan::AddScratch(int node, size_t bytes) {
  scratch_of_[node] = static_cast<int>(blocks_.size());
  blocks_.push_back({bytes, node, node, 0});
}

void MemoryPlan::Enlarge(int tensor, size_t bytes) {
  size_t& size = blocks_[block_of_[tensor]].size;
  size = std::max(size, bytes);
}

void MemoryPlan::Place() { bytes_ = PlaceBlocks(blocks_, kAlignment); }

}  // namespace tiltshift::engine::cpu
