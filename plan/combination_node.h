// How a combination expression is kept, for the files that walk it: combination.cc, selection.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "plan/combination.h"

namespace tiltshift::plan {

// `count` is of the node alone: its axis' values, its children's product, or the length that an
// association's children share.
struct Combination::Node {
  enum class Kind { kAxis, kProduct, kAssociation };
  Kind kind = Kind::kAxis;
  size_t axis = 0;
  uint64_t count = 0;
  std::vector<std::unique_ptr<Node>> children;
};

}  // namespace tiltshift::plan
