// Integer range expressions as OpenJD's template schema defines them ("Integer Range Expression"):
//
//   "1-10"        1, 2, ... 10            "1-10:2,20"   1, 3, 5, 7, 9, 20
//   "10-1:-3"     10, 7, 4, 1             "-5--1"       -5, -4, -3, -2, -1
//
// Kept as intervals, never expanded: a range of 10^15 values costs what one of two does. Values
// come in the written order; a value that appears twice is an error.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tiltshift::plan {

class IntRange {
 public:
  // InvalidArgument with the column of what is wrong.
  static absl::StatusOr<IntRange> Parse(std::string_view text);

  uint64_t count() const { return count_; }
  // i < count().
  int64_t At(uint64_t i) const;
  // The position of `value`, or NotFound.
  absl::StatusOr<uint64_t> IndexOf(int64_t value) const;
  int64_t min() const;
  int64_t max() const;

 private:
  // first, first + step, ... (count values).
  struct Interval {
    int64_t first;
    int64_t step;
    uint64_t count;
    int64_t last() const { return first + step * static_cast<int64_t>(count - 1); }
    int64_t low() const { return step > 0 ? first : last(); }
    int64_t high() const { return step > 0 ? last() : first; }
  };
  static bool Overlap(const Interval& a, const Interval& b);

  std::vector<Interval> intervals_;
  uint64_t count_ = 0;
};

}  // namespace tiltshift::plan
