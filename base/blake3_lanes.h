// BLAKE3's compression function, and runs of it side by side by the processor's vectors.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/blake3.h"

namespace tiltshift::blake3 {

inline constexpr size_t kBlock = 64;
inline constexpr uint32_t kStart[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                       0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
enum Flag : uint32_t { kChunkStart = 1, kChunkEnd = 2, kParent = 4, kRoot = 8 };

// Messages that lie one after the other, of `blocks` whole blocks each: chunks, which are counted
// from `chunk` on, or parents.
struct Messages {
  const char* at = nullptr;
  size_t blocks = 0;
  uint64_t chunk = 0;
  bool parents = false;

  void Skip(size_t messages) {
    at += messages * blocks * kBlock;
    if (!parents) chunk += messages;
  }
  uint32_t FlagsOf(size_t block) const {
    if (parents) return kParent;
    return (block == 0 ? kChunkStart : 0u) | (block + 1 == blocks ? kChunkEnd : 0u);
  }
};

// Takes a block, of which `length` bytes are the message's and the others zeros, into the value.
void Compress(const char* block, uint64_t chunk, uint32_t length, uint32_t flags,
              Blake3Value* value);

// The values of as many of the messages as fill vectors: how many those are.
size_t CompressLanes(const Messages& messages, size_t count, Blake3Value* values);

}  // namespace tiltshift::blake3
