#include "engine/memory_blocks.h"

#include <algorithm>
#include <numeric>

namespace tiltshift::engine {

size_t PlaceBlocks(std::vector<MemoryBlock>& blocks, size_t alignment) {
  const auto aligned = [&](size_t bytes) {
    return (bytes + alignment - 1) / alignment * alignment;
  };
  std::vector<int> order(blocks.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return blocks[a].size > blocks[b].size; });
  size_t bytes = 0;
  std::vector<int> placed;  // by offset
  for (const int index : order) {
    MemoryBlock& block = blocks[index];
    if (block.size == 0) continue;
    size_t at = 0;
    for (const int other : placed) {
      const MemoryBlock& there = blocks[other];
      if (there.last < block.first || block.last < there.first) continue;
      if (there.offset >= at + aligned(block.size)) break;
      at = std::max(at, there.offset + aligned(there.size));
    }
    block.offset = at;
    bytes = std::max(bytes, at + aligned(block.size));
    const auto by_offset = [&](int a, int b) { return blocks[a].offset < blocks[b].offset; };
    placed.insert(std::upper_bound(placed.begin(), placed.end(), index, by_offset), index);
  }
  return bytes;
}

}  // namespace tiltshift::engine
