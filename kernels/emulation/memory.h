// The emulated card's memory: which addresses are allocated, and which of their bytes were ever
// written.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <shared_mutex>

namespace tiltshift::emulation {

struct Allocation {
  char* begin = nullptr;
  size_t bytes = 0;
  // One flag a byte; null where the allocation was made while nothing was tracked (then all counts
  // as written).
  std::unique_ptr<uint8_t[]> written;
};

// Safe to use from many threads; freeing what another thread uses is the caller's error, as on a
// card.
class DeviceMemory {
 public:
  ~DeviceMemory();

  // Aligned to 256 bytes, as cudaMalloc's; null when the limit is reached. `track`: remember what
  // was written.
  void* Allocate(size_t bytes, bool track);
  // False: no allocation begins there.
  bool Free(void* begin);
  // The allocation that holds [address, address + bytes), or null.
  Allocation* Find(const void* address, size_t bytes);
  // All of [address, address + bytes) was written; true where nothing is remembered.
  static bool Written(const Allocation& allocation, const void* address, size_t bytes);
  static void MarkWritten(Allocation& allocation, const void* address, size_t bytes);

  size_t bytes_in_use() const { return in_use_; }
  // What Allocate may give in all: a test's way to be out of memory.
  void set_limit(size_t bytes) { limit_ = bytes; }
  size_t limit() const { return limit_; }

 private:
  std::shared_mutex mutex_;
  std::map<const char*, Allocation> allocations_;  // by first byte
  std::atomic<size_t> in_use_ = 0;
  std::atomic<size_t> limit_ = size_t{1} << 40;
};

}  // namespace tiltshift::emulation
