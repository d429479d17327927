#include "plan/range.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/check.h"

namespace tiltshift::plan {
namespace {

// Far from the ends of int64, so that sums and differences of values can't overflow.
constexpr int64_t kLargestMagnitude = int64_t{1} << 61;
constexpr size_t kMostIntervals = 1000;

class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}

  bool AtEnd() {
    SkipSpace();
    return position_ == text_.size();
  }
  bool Take(char c) {
    SkipSpace();
    if (position_ == text_.size() || text_[position_] != c) return false;
    ++position_;
    return true;
  }
  absl::StatusOr<int64_t> Integer() {
    SkipSpace();
    const bool negative = Take('-');
    const size_t start = position_;
    int64_t value = 0;
    while (position_ < text_.size() && text_[position_] >= '0' && text_[position_] <= '9') {
      value = value * 10 + (text_[position_++] - '0');
      if (value > kLargestMagnitude) return Error("a number is too large (the limit is 2^61)");
    }
    if (position_ == start) return Error("expected a whole number");
    return negative ? -value : value;
  }
  absl::Status Error(const std::string& what) const {
    return absl::InvalidArgumentError(absl::StrCat("range \"", std::string(text_), "\", column ",
                                                   position_ + 1, ": ", what,
                                                   " (a range looks like 1-10 or 1-10:2,20)"));
  }

 private:
  void SkipSpace() {
    while (position_ < text_.size() && (text_[position_] == ' ' || text_[position_] == '\t'))
      ++position_;
  }
  std::string_view text_;
  size_t position_ = 0;
};

using Wide = __int128;

Wide Modulo(Wide value, Wide modulus) {
  const Wide rest = value % modulus;
  return rest < 0 ? rest + modulus : rest;
}

// x with value * x = 1 (mod modulus), for coprime value and modulus; 0 where the modulus is 1.
Wide Inverse(Wide value, Wide modulus) {
  Wide r0 = modulus, r1 = Modulo(value, modulus), t0 = 0, t1 = 1;
  while (r1 != 0) {
    const Wide quotient = r0 / r1;
    std::swap(r0, r1);
    r1 -= quotient * r0;
    std::swap(t0, t1);
    t1 -= quotient * t0;
  }
  return Modulo(t0, modulus);
}

}  // namespace

bool IntRange::Overlap(const Interval& a, const Interval& b) {
  const int64_t low = std::max(a.low(), b.low());
  const int64_t high = std::min(a.high(), b.high());
  if (low > high) return false;
  // Chinese remainder: values of both are v = a.low (mod p) and v = b.low (mod q).
  const int64_t p = std::abs(a.step), q = std::abs(b.step), common = std::gcd(p, q);
  const Wide apart = static_cast<Wide>(b.low()) - a.low();
  if (apart % common != 0) return false;
  const Wide period = static_cast<Wide>(p) * (q / common);
  const Wide turns = Modulo(apart / common * Inverse(p / common, q / common), q / common);
  const Wide meeting = a.low() + turns * p;
  return low + Modulo(meeting - low, period) <= high;
}

absl::StatusOr<IntRange> IntRange::Parse(std::string_view text) {
  IntRange range;
  Cursor cursor(text);
  do {
    if (range.intervals_.size() == kMostIntervals) {
      return cursor.Error(absl::StrCat("more than ", kMostIntervals, " parts"));
    }
    TS_ASSIGN_OR_RETURN(const int64_t first, cursor.Integer());
    Interval interval{first, 1, 1};
    if (cursor.Take('-')) {
      TS_ASSIGN_OR_RETURN(const int64_t last, cursor.Integer());
      if (cursor.Take(':')) {
        TS_ASSIGN_OR_RETURN(interval.step, cursor.Integer());
        if (interval.step == 0) return cursor.Error("a step of 0 never ends");
        if (std::abs(interval.step) > int64_t{1} << 31)
          return cursor.Error("the step is too large");
      }
      if ((last - first) * (interval.step > 0 ? 1 : -1) < 0) {
        return cursor.Error(absl::StrCat("from ", first, " to ", last, " goes against the step of ",
                                         interval.step));
      }
      interval.count = static_cast<uint64_t>((last - first) / interval.step) + 1;
    }
    for (const Interval& earlier : range.intervals_) {
      if (Overlap(earlier, interval)) return cursor.Error("a value appears twice");
    }
    range.intervals_.push_back(interval);
    range.count_ += interval.count;
  } while (cursor.Take(','));
  if (!cursor.AtEnd()) return cursor.Error("expected ',' or the end");
  return range;
}

int64_t IntRange::At(uint64_t i) const {
  TS_CHECK(i < count_);
  for (const Interval& interval : intervals_) {
    if (i < interval.count) return interval.first + interval.step * static_cast<int64_t>(i);
    i -= interval.count;
  }
  TS_CHECK(false);
  return 0;
}

absl::StatusOr<uint64_t> IntRange::IndexOf(int64_t value) const {
  uint64_t before = 0;
  for (const Interval& interval : intervals_) {
    if (value >= interval.low() && value <= interval.high() &&
        (value - interval.first) % interval.step == 0) {
      return before + static_cast<uint64_t>((value - interval.first) / interval.step);
    }
    before += interval.count;
  }
  return absl::NotFoundError(absl::StrCat(value, " is not in the range"));
}

int64_t IntRange::min() const {
  int64_t low = intervals_[0].low();
  for (const Interval& interval : intervals_) low = std::min(low, interval.low());
  return low;
}

int64_t IntRange::max() const {
  int64_t high = intervals_[0].high();
  for (const Interval& interval : intervals_) high = std::max(high, interval.high());
  return high;
}

}  // namespace tiltshift::plan
