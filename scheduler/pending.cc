#include "scheduler/pending.h"

#include <algorithm>

namespace tiltshift::scheduler {
namespace {

// How many variants of `whole` a lease of at most `most` takes.
uint64_t Portion(const PendingRange& whole, uint64_t most) {
  if (whole.lost > 0) most = std::min(most, whole.range.count / 2);
  return std::clamp<uint64_t>(most, 1, whole.range.count);
}

bool MayTake(const PendingRange& range, int64_t now_ms, const Pending::Skip& skip) {
  if (range.ready_ms > now_ms) return false;
  return range.range.count > 1 || skip == nullptr || !skip(range.range.first);
}

}  // namespace

uint64_t Total(const std::vector<Range>& ranges) {
  uint64_t total = 0;
  for (const Range& range : ranges) total += range.count;
  return total;
}

void Pending::Add(const PendingRange& range) {
  if (range.range.count == 0) return;
  count_ += range.range.count;
  const auto next = ranges_.lower_bound(range.range.first);
  if (next != ranges_.begin()) {
    PendingRange& before = std::prev(next)->second;
    const bool adjacent = before.range.first + before.range.count == range.range.first;
    if (adjacent && before.lost == range.lost && before.ready_ms == range.ready_ms) {
      before.range.count += range.range.count;
      return;
    }
  }
  ranges_.emplace(range.range.first, range);
}

std::optional<PendingRange> Pending::Take(uint64_t most, int64_t now_ms, const Skip& skip) {
  for (auto it = ranges_.begin(); it != ranges_.end(); ++it) {
    if (!MayTake(it->second, now_ms, skip)) continue;
    PendingRange whole = it->second;
    ranges_.erase(it);
    PendingRange taken = whole;
    taken.range.count = Portion(whole, most);
    count_ -= taken.range.count;
    whole.range.first += taken.range.count;
    whole.range.count -= taken.range.count;
    if (whole.range.count > 0) ranges_.emplace(whole.range.first, whole);
    return taken;
  }
  return std::nullopt;
}

bool Pending::NextIsSuspect(uint64_t most, int64_t now_ms, const Skip& skip) const {
  const auto next = std::find_if(ranges_.begin(), ranges_.end(),
                                 [&](const auto& r) { return MayTake(r.second, now_ms, skip); });
  return next != ranges_.end() && next->second.lost > 0 && Portion(next->second, most) == 1;
}

std::vector<Range> Pending::TakeWithin(const Range& within) {
  std::vector<Range> taken;
  const uint64_t end = within.first + within.count;
  auto it = ranges_.upper_bound(within.first);
  if (it != ranges_.begin()) --it;
  while (it != ranges_.end() && it->first < end) {
    const PendingRange whole = it->second;
    const uint64_t whole_end = whole.range.first + whole.range.count;
    const uint64_t low = std::max(whole.range.first, within.first), high = std::min(whole_end, end);
    if (low >= high) {
      ++it;
      continue;
    }
    it = ranges_.erase(it);
    count_ -= whole.range.count;
    taken.push_back({low, high - low});
    Add({{whole.range.first, low - whole.range.first}, whole.lost, whole.ready_ms});
    Add({{high, whole_end - high}, whole.lost, whole.ready_ms});
  }
  return taken;
}

const PendingRange* Pending::Find(uint64_t index) const {
  auto next = ranges_.upper_bound(index);
  if (next == ranges_.begin()) return nullptr;
  const PendingRange& range = std::prev(next)->second;
  return index < range.range.first + range.range.count ? &range : nullptr;
}

bool Pending::AnyReady(int64_t now_ms) const {
  return std::any_of(ranges_.begin(), ranges_.end(),
                     [&](const auto& r) { return r.second.ready_ms <= now_ms; });
}

void Pending::Clear() {
  ranges_.clear();
  count_ = 0;
}

void AddMissing(uint64_t variants, std::string_view done_bits, std::string_view failed_bits,
                Pending& pending) {
  auto byte = [](std::string_view bits, uint64_t at) {
    return at < bits.size() ? static_cast<unsigned char>(bits[at]) : 0u;
  };
  const uint64_t known =
      std::max(done_bits.size(), failed_bits.size()) * 8;  // beyond: nothing is set
  Range open{0, 0};
  auto close = [&] {
    pending.Add({open, 0, 0});
    open.count = 0;
  };
  uint64_t i = 0;
  for (; i < std::min(variants, known); ++i) {
    const unsigned set = byte(done_bits, i / 8) | byte(failed_bits, i / 8);
    if ((set >> (7 - i % 8)) & 1) {
      close();
    } else if (open.count++ == 0) {
      open.first = i;
    }
  }
  if (i < variants) {
    if (open.count == 0) open.first = i;
    open.count += variants - i;
  }
  close();
}

}  // namespace tiltshift::scheduler
