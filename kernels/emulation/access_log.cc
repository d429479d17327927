#include "kernels/emulation/access_log.h"

#include <algorithm>
#include <bit>

namespace tiltshift::emulation {

int BankConflicts(const int64_t* addresses, int lanes, int bytes) {
  const int words = std::max(1, bytes / 4);
  const int group = 32 / words;  // lanes served together
  int conflicts = 0;
  for (int first = 0; first < lanes; first += group) {
    // Distinct words in each bank.
    std::array<std::array<int64_t, 32>, 32> seen;
    std::array<int, 32> counts = {};
    for (int lane = first; lane < std::min(lanes, first + group); ++lane) {
      if (addresses[lane] < 0) continue;
      for (int w = 0; w < words; ++w) {
        const int64_t word = addresses[lane] / 4 + w;
        auto& bank = seen[word % 32];
        int& count = counts[word % 32];
        if (std::find(bank.begin(), bank.begin() + count, word) == bank.begin() + count)
          bank[count++] = word;
      }
    }
    conflicts += std::max(0, *std::max_element(counts.begin(), counts.end()) - 1);
  }
  return conflicts;
}

namespace {

void CountSectors(const std::array<int64_t, 32>& addresses, int bytes, Counters& counters) {
  std::array<int64_t, 32> distinct = addresses;
  std::sort(distinct.begin(), distinct.end());
  const auto first = std::upper_bound(distinct.begin(), distinct.end(), -1);
  const auto end = std::unique(first, distinct.end());
  int sectors = 0;
  int64_t latest = -1;
  // No access crosses a sector: all are aligned to their size.
  for (auto address = first; address != end; ++address) {
    sectors += *address / 32 != latest ? 1 : 0;
    latest = *address / 32;
  }
  counters.sectors += sectors;
  counters.ideal_sectors += ((end - first) * bytes + 31) / 32;
}

}  // namespace

void AccessLog::Add(Access access, int bytes, int lane, int64_t address,
                    const std::source_location& place) {
  // A source location is one pointer to the compiler's record of the place.
  const void* key = std::bit_cast<const void*>(place);
  const auto is_it = [&](const Place& known) {
    return known.key == key && known.access == access && known.bytes == bytes;
  };
  if (latest_ >= used_ || !is_it(places_[latest_])) {
    latest_ = std::find_if(places_.begin(), places_.begin() + used_, is_it) - places_.begin();
    if (latest_ == used_) {
      if (used_ == places_.size()) places_.emplace_back();
      Place& fresh = places_[used_++];
      fresh.key = key;
      fresh.access = access;
      fresh.bytes = bytes;
      fresh.lane_requests.fill(0);
      fresh.used = 0;
    }
  }
  Place& known = places_[latest_];
  const size_t index = known.lane_requests[lane]++;
  while (known.used <= index) {
    if (known.used == known.requests.size()) known.requests.emplace_back();
    known.requests[known.used++].addresses.fill(-1);
  }
  known.requests[index].addresses[lane] = address;
}

void AccessLog::Count(const Place& place, const Request& request, Counters& counters) {
  switch (place.access) {
    case Access::kSharedLoad:
      counters.shared_loads += 1;
      break;
    case Access::kSharedStore:
      counters.shared_stores += 1;
      break;
    case Access::kGlobalLoad:
      counters.global_loads += 1;
      break;
    case Access::kGlobalStore:
      counters.global_stores += 1;
      break;
    case Access::kSharedAtomic:
    case Access::kGlobalAtomic:
      counters.atomics += 1;
      break;
    case Access::kCopyFrom:
      counters.copy_async += 1;
      break;
    case Access::kCopyTo:
      break;
  }
  if (place.access == Access::kSharedLoad || place.access == Access::kSharedStore ||
      place.access == Access::kSharedAtomic || place.access == Access::kCopyTo) {
    counters.bank_conflicts += BankConflicts(request.addresses.data(), 32, place.bytes);
  } else {
    CountSectors(request.addresses, place.bytes, counters);
    const int lanes =
        32 - static_cast<int>(std::count(request.addresses.begin(), request.addresses.end(), -1));
    (place.access == Access::kGlobalStore ? counters.global_bytes_stored
                                          : counters.global_bytes_loaded) +=
        int64_t{lanes} * place.bytes;
  }
}

void AccessLog::Flush(Counters& counters) {
  for (size_t i = 0; i < used_; ++i) {
    Place& place = places_[i];
    for (size_t r = 0; r < place.used; ++r) Count(place, place.requests[r], counters);
  }
  used_ = 0;
}

}  // namespace tiltshift::emulation
