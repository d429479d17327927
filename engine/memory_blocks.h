// Places pieces of memory that live for a while in one large block: those whose lives don't meet
// share bytes.
#pragma once

#include <cstddef>
#include <vector>

namespace tiltshift::engine {

struct MemoryBlock {
  size_t size = 0;
  int first = 0, last = 0;  // when it lives, both included
  size_t offset = 0;        // PlaceBlocks decides
};

// Decides every offset, a multiple of `alignment`, and returns the bytes that all need together.
// Large first, each at the lowest place where nothing that lives at the same time lies ("greedy by
// size", Pisarchyk and Lee 2020).
size_t PlaceBlocks(std::vector<MemoryBlock>& blocks, size_t alignment);

}  // namespace tiltshift::engine
