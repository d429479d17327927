#include "plan/selection.h"

#include <algorithm>

#include "base/check.h"
#include "plan/combination_node.h"

namespace tiltshift::plan {

using Kind = Combination::Node::Kind;

bool Selection::Part::all() const { return count == node->count; }

bool Selection::Part::Has(uint64_t index) const {
  if (all()) return true;
  if (node->kind != Kind::kProduct) return std::binary_search(picked.begin(), picked.end(), index);
  for (auto child = children.rbegin(); child != children.rend(); ++child) {
    if (!child->Has(index % child->node->count)) return false;
    index /= child->node->count;
  }
  return true;
}

uint64_t Selection::Part::At(uint64_t number) const {
  if (all()) return number;
  if (node->kind != Kind::kProduct) return picked[number];
  uint64_t index = 0, scale = 1;
  for (auto child = children.rbegin(); child != children.rend(); ++child) {
    index += child->At(number % child->count) * scale;
    number /= child->count;
    scale *= child->node->count;
  }
  return index;
}

// The pairs that every child has: those of its child with the fewest are gone through.
absl::Status Selection::PickPairs(Part& part) {
  const auto fewest =
      std::min_element(part.children.begin(), part.children.end(),
                       [](const Part& a, const Part& b) { return a.count < b.count; });
  if (fewest->all()) return absl::OkStatus();
  if (fewest->count > kMostPaired) {
    return absl::OutOfRangeError(absl::StrCat("an association of ", part.node->count, " leaves ",
                                              fewest->count, " to look through; at most ",
                                              kMostPaired, ": choose fewer values"));
  }
  for (uint64_t i = 0; i < fewest->count; ++i) {
    const uint64_t index = fewest->At(i);
    const bool everywhere = std::all_of(part.children.begin(), part.children.end(),
                                        [&](const Part& child) { return child.Has(index); });
    if (everywhere) part.picked.push_back(index);
  }
  part.count = part.picked.size();
  return absl::OkStatus();
}

absl::StatusOr<Selection::Part> Selection::Choose(const Combination::Node& node,
                                                  const Chosen& chosen) {
  Part part;
  part.node = &node;
  part.count = node.count;
  if (node.kind == Kind::kAxis) {
    if (!chosen[node.axis].has_value()) return part;
    part.picked = *chosen[node.axis];
    std::sort(part.picked.begin(), part.picked.end());
    part.picked.erase(std::unique(part.picked.begin(), part.picked.end()), part.picked.end());
    part.count = part.picked.size();
    return part;
  }
  for (const auto& child : node.children) {
    TS_ASSIGN_OR_RETURN(Part chosen_child, Choose(*child, chosen));
    part.children.push_back(std::move(chosen_child));
  }
  if (node.kind == Kind::kAssociation) {
    TS_RETURN_IF_ERROR(PickPairs(part));
  } else {
    part.count = 1;
    for (const Part& child : part.children) part.count *= child.count;
  }
  return part;
}

absl::StatusOr<Selection> Selection::Create(const Combination& combination, const Chosen& chosen) {
  Selection selection;
  TS_ASSIGN_OR_RETURN(selection.root_, Choose(combination.root(), chosen));
  return selection;
}

uint64_t Selection::IndexAt(uint64_t number) const {
  TS_CHECK(number < count());
  return root_.At(number);
}

}  // namespace tiltshift::plan
