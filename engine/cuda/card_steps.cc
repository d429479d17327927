#include "engine/cuda/card_steps.h"

#include <algorithm>

#include "kernels/numbers.h"

namespace tiltshift::engine::cuda {
namespace {

template <class T>
absl::Status AddNode(const Setting& setting, int node, std::vector<Step>& steps) {
  if (setting.layout.IsFolded(node)) return absl::OkStatus();
  const Op& op = setting.graph.nodes()[node].op;
  const bool product = std::holds_alternative<ConvOp>(op) || std::holds_alternative<LinearOp>(op) ||
                       (std::holds_alternative<GegluOp>(op) && setting.layout.FoldedIn(node) >= 0);
  return product ? AddProduct<T>(setting, node, steps) : AddOther<T>(setting, node, steps);
}

}  // namespace

size_t ScratchBytes(const Graph& graph, const CardLayout& layout) {
  size_t bytes = 0;
  for (const Node& node : graph.nodes()) {
    bytes = std::max(
        {bytes, ProductScratch(node.op, layout.batch()), OtherScratch(node.op, layout.batch())});
  }
  return bytes;
}

absl::StatusOr<std::vector<Step>> MakeSteps(const Setting& setting) {
  std::vector<Step> steps;
  for (int node = 0; node < static_cast<int>(setting.graph.nodes().size()); ++node) {
    const absl::Status added = setting.weights.half() == Half::kBf16
                                   ? AddNode<kernels::Bf16>(setting, node, steps)
                                   : AddNode<kernels::Fp16>(setting, node, steps);
    if (!added.ok()) return Annotate(added, setting.graph.nodes()[node].name);
  }
  return steps;
}

}  // namespace tiltshift::engine::cuda
