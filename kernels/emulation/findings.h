// What the emulator finds wrong with a kernel: the places, each said once, with who did it.
#pragma once

#include <mutex>
#include <source_location>
#include <string>
#include <vector>

namespace tiltshift::emulation {

enum class FindingKind {
  kRace,              // two threads, no barrier between, at least one writes
  kOutOfBounds,       // outside the block's shared memory or any allocation
  kMisaligned,        // an address that is no multiple of the access
  kUninitialised,     // read before anything was written
  kPendingCopy,       // an asynchronous copy's target touched before the copy was waited for
  kDivergentBarrier,  // some threads of the block wait where others never come
  kDivergentWarp,     // lanes of a warp at different warp operations
};

const char* NameOf(FindingKind kind);

struct Finding {
  FindingKind kind;
  std::string kernel;
  std::string place;  // "gemm.cu:120"
  std::string what;   // "block (0,0,0) thread 5: ..."
};

// Safe to use from many threads. A kind and place is kept once; `count` of all is kept beside.
class Findings {
 public:
  void Add(FindingKind kind, const std::string& kernel, const std::source_location& place,
           const std::string& what);
  // All since the last Take, in the order found.
  std::vector<Finding> Take();
  bool empty() const;

 private:
  mutable std::mutex mutex_;
  std::vector<Finding> findings_;
};

// One line a finding, for a test's failure message.
std::string Describe(const std::vector<Finding>& findings);

}  // namespace tiltshift::emulation
