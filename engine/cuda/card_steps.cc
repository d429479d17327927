#include "engine/cuda/card_steps.h"

#include <algorithm>

#include "kernels/numbers.h"

namespace tiltshift::engine::cuda {
namespace {

template <class T>
absl::Status AddNode(const Setting& setting, int node, std::vector<Step>& steps) {
  if (setting.layout.IsFolded(node)) return absl::OkStatus();
  const Op& op = setting.graph.nodes()[node].op;
  // A function that has folded something in is a product's.
  const bool product = std::holds_alternative<ConvOp>(op) || std::holds_alternative<LinearOp>(op) ||
                       setting.layout.FoldedIn(node) >= 0;
  return product ? AddProduct<T>(setting, node, steps) : AddOther<T>(setting, node, steps);
}

}  // namespace

size_t ScratchBytes(const Graph& graph, const CardLayout& layout) {
  size_t bytes = 0;
  for (int node = 0; node < static_cast<int>(graph.nodes().size()); ++node) {
    size_t together = 0;  // with what is folded in
    for (int each = node; each >= 0; each = layout.FoldedIn(each)) {
      const Op& op = graph.nodes()[each].op;
      together += std::max(ProductScratch(op, layout.batch()), OtherScratch(op, layout.batch()));
    }
    bytes = std::max(bytes, together);
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
