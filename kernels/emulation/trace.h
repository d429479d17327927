// What a program asks of the runtime, call by call, for tests of the order: what is copied when,
// from pinned memory or not, what is put into which stream before who waits for what.
#pragma once

#include <cstddef>
#include <map>
#include <vector>

struct CUstream_st;

namespace tiltshift::emulation {

enum class CallKind {
  kToCard,    // a copy from the host
  kToHost,    // a copy to it
  kOnCard,    // a copy or a clearing within the card
  kLaunch,    // of a kernel, outside graphs
  kGraph,     // a graph's launch
  kWait,      // for a stream; null: for all of them
  kAllocate,  // device memory
  kFree,      // device memory, which waits for all streams
};

struct Call {
  CallKind kind;
  const CUstream_st* stream = nullptr;
  size_t bytes = 0;
  bool pinned = false;    // the host's side of a copy
  bool captured = false;  // into a graph, which does it later
};

// Under the shim's lock.
class Trace {
 public:
  void Start() { on_ = true; }
  std::vector<Call> Take();  // and ends it
  void Add(const Call& call) {
    if (on_) calls_.push_back(call);
  }
  void Pin(const void* memory, size_t bytes) { pinned_[static_cast<const char*>(memory)] = bytes; }
  void Unpin(const void* memory) { pinned_.erase(static_cast<const char*>(memory)); }
  bool IsPinned(const void* memory, size_t bytes) const;

 private:
  bool on_ = false;
  std::vector<Call> calls_;
  std::map<const char*, size_t> pinned_;  // begin -> bytes
};

// Takes the shim's lock.
void StartTrace();
std::vector<Call> TakeTrace();

}  // namespace tiltshift::emulation
