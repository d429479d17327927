// A warp's memory accesses between two warp operations, put back together into the requests that
// the card would issue: lanes run one after another here, in lockstep there.
//
// The n-th access of a lane at one place in the source belongs to the n-th request of that place.
// Sectors and bank conflicts are properties of requests.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <vector>

#include "kernels/emulation/counters.h"

namespace tiltshift::emulation {

enum class Access : uint8_t {
  kSharedLoad,
  kSharedStore,
  kGlobalLoad,
  kGlobalStore,
  kSharedAtomic,
  kGlobalAtomic,
  kCopyFrom,  // the two sides of cp.async
  kCopyTo,
};

// Extra passes over 32 banks of 4 bytes for one request of up to 32 lanes with `bytes` each;
// addresses are offsets, -1 for a lane that takes no part. Wide requests are served in halves (8
// bytes) or quarters (16).
int BankConflicts(const int64_t* addresses, int lanes, int bytes);

class AccessLog {
 public:
  void Add(Access access, int bytes, int lane, int64_t address, const std::source_location& place);
  // Counts what was gathered and forgets it.
  void Flush(Counters& counters);

 private:
  struct Request {
    std::array<int64_t, 32> addresses;
  };
  struct Place {
    const void* key = nullptr;
    Access access;
    int bytes;
    std::array<uint16_t, 32> lane_requests;
    std::vector<Request> requests;
    size_t used = 0;
  };

  static void Count(const Place& place, const Request& request, Counters& counters);

  std::vector<Place> places_;
  size_t used_ = 0;
  size_t latest_ = 0;
};

}  // namespace tiltshift::emulation
