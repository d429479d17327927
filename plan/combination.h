// Combination expressions, as OpenJD defines them for parameter spaces: how axes become one space.
//
//   "a * b"       product: every a with every b, b fastest
//   "(a, b)"      association: the first of a with the first of b, and so on; equal lengths
//   "a * (b, c * d)"  and so on; each axis exactly once
//
// The parsed form is a mixed-radix numbering: an index becomes one position an axis, and back, in
// time that depends on the number of axes alone.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tiltshift::plan {

// An axis as the expression sees it.
struct AxisSize {
  std::string name;
  uint64_t count = 0;
};

class Combination {
 public:
  // The largest space: indices and products stay exact in 64 bits.
  static constexpr uint64_t kMostVariants = uint64_t{1} << 62;

  // Empty text: the product of all axes in order. InvalidArgument with the column and the known
  // axes; OutOfRange where the space has more than kMostVariants.
  static absl::StatusOr<Combination> Parse(std::string_view text,
                                           const std::vector<AxisSize>& axes);

  Combination(Combination&&) noexcept;
  Combination& operator=(Combination&&) noexcept;
  ~Combination();

  uint64_t count() const;
  // index < count(); positions[i] is the place in axis i.
  std::vector<uint64_t> PositionsAt(uint64_t index) const;
  // The inverse; NotFound where an association pairs other positions.
  absl::StatusOr<uint64_t> IndexOf(const std::vector<uint64_t>& positions) const;

  // Whether the positions of the axes marked in `known` tell the index: of a product every part is
  // needed, of an association one.
  bool IsToldBy(const std::vector<bool>& known) const;

  struct Node;
  const Node& root() const { return *root_; }

 private:
  Combination(std::unique_ptr<Node> root, size_t axes);
  std::unique_ptr<Node> root_;
  size_t axes_;
};

}  // namespace tiltshift::plan
