// Some of a combination's variants: those whose axes have chosen values. Numbered anew, 0 to count
// - 1, in the order of their indices, and found by that number without going through those before
// it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/status.h"
#include "plan/combination.h"

namespace tiltshift::plan {

class Selection {
 public:
  // Of an association that is gone through value by value.
  static constexpr uint64_t kMostPaired = 1'000'000;

  // `chosen`: of each axis the positions, in any order; none where all are meant. The combination
  // must outlive it. OutOfRange: an association of more than kMostPaired would have to be gone
  // through.
  static absl::StatusOr<Selection> Create(
      const Combination& combination,
      const std::vector<std::optional<std::vector<uint64_t>>>& chosen);

  uint64_t count() const { return root_.count; }
  // number < count(), checked.
  uint64_t IndexAt(uint64_t number) const;

 private:
  // What is left of a node. `picked` are its own indices, rising, of an axis or association with
  // fewer than all; a product has its children's.
  struct Part {
    const Combination::Node* node = nullptr;
    uint64_t count = 0;
    std::vector<uint64_t> picked;
    std::vector<Part> children;

    bool all() const;
    bool Has(uint64_t index) const;
    uint64_t At(uint64_t number) const;
  };
  using Chosen = std::vector<std::optional<std::vector<uint64_t>>>;
  static absl::StatusOr<Part> Choose(const Combination::Node& node, const Chosen& chosen);
  static absl::Status PickPairs(Part& part);

  Part root_;
};

}  // namespace tiltshift::plan
