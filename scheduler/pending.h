// The variants of a job that wait for a worker: contiguous ranges, each with how often a worker was
// lost over it and when it may be tried again. Costs its ranges, not its variants.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

namespace tiltshift::scheduler {

struct Range {
  uint64_t first = 0;
  uint64_t count = 0;
};

uint64_t Total(const std::vector<Range>& ranges);

struct PendingRange {
  Range range;
  uint32_t lost = 0;     // workers lost over it
  int64_t ready_ms = 0;  // not before

  bool suspect() const { return range.count == 1 && lost > 0; }
};

class Pending {
 public:
  void Add(const PendingRange& range);

  // The lowest variants that are ready: at most `most` of them, as one range; what lost workers
  // before comes in ever smaller pieces (halved each time), so that one bad variant is found.
  // `skip`, where given, is asked of single variants: true leaves it to another worker.
  using Skip = std::function<bool(uint64_t index)>;
  std::optional<PendingRange> Take(uint64_t most, int64_t now_ms, const Skip& skip = nullptr);

  // Whether Take would give a suspect: a single variant over which a worker was lost. It is for a
  // worker that holds nothing else, so that a death says something about it alone.
  bool NextIsSuspect(uint64_t most, int64_t now_ms, const Skip& skip = nullptr) const;

  // What of `within` is waiting, taken out: of a lease that a restarted scheduler finds in the
  // store.
  std::vector<Range> TakeWithin(const Range& within);

  // The range that holds a variant; null where it does not wait.
  const PendingRange* Find(uint64_t index) const;

  uint64_t count() const { return count_; }
  bool AnyReady(int64_t now_ms) const;
  void Clear();

 private:
  std::map<uint64_t, PendingRange> ranges_;  // by first
  uint64_t count_ = 0;
};

// 0 .. variants - 1 without the bits set in either bitmap (bit i is bit 7 - i % 8 of byte i / 8, as
// Redis has it).
void AddMissing(uint64_t variants, std::string_view done_bits, std::string_view failed_bits,
                Pending& pending);

}  // namespace tiltshift::scheduler
