#include "base/blake3.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/escaping.h"
#include "base/blake3_lanes.h"

namespace tiltshift {
namespace {

using blake3::kBlock;
constexpr size_t kChunk = 1024;

// The last step to a node's value, which is another where the node is the root.
struct Node {
  Blake3Value value;
  char block[kBlock];
  uint64_t chunk;
  uint32_t length, flags;

  Blake3Value End(uint32_t root = 0) const {
    Blake3Value end = value;
    blake3::Compress(block, chunk, length, flags | root, &end);
    return end;
  }
};

Blake3Value Start() {
  Blake3Value start;
  std::copy_n(blake3::kStart, start.size(), start.begin());
  return start;
}

// Of up to kChunk bytes.
Node Chunk(std::string_view bytes, uint64_t index) {
  Node node = {Start(), {}, index, 0, blake3::kChunkStart};
  for (; bytes.size() > kBlock; bytes.remove_prefix(kBlock)) {
    blake3::Compress(bytes.data(), index, kBlock, node.flags, &node.value);
    node.flags = 0;
  }
  std::copy_n(bytes.data(), bytes.size(), node.block);
  node.length = static_cast<uint32_t>(bytes.size());
  node.flags |= blake3::kChunkEnd;
  return node;
}

Node Parent(const Blake3Value* children) {
  Node node = {Start(), {}, 0, kBlock, blake3::kParent};
  std::memcpy(node.block, children, kBlock);
  return node;
}

// The parent of all, two at least: layer by layer, of which what is left over is in the next.
Node Join(std::vector<Blake3Value> values) {
  while (values.size() > 2) {
    const size_t pairs = values.size() / 2;
    std::vector<Blake3Value> parents(pairs);
    size_t i = blake3::CompressLanes(
        {.at = reinterpret_cast<const char*>(values.data()), .blocks = 1, .parents = true}, pairs,
        parents.data());
    for (; i < pairs; ++i) parents[i] = Parent(&values[2 * i]).End();
    if (values.size() % 2 == 1) parents.push_back(values.back());
    values = std::move(parents);
  }
  return Parent(values.data());
}

Node Tree(std::string_view bytes, uint64_t first) {
  if (bytes.size() <= kChunk) return Chunk(bytes, first);
  std::vector<Blake3Value> chunks((bytes.size() + kChunk - 1) / kChunk);
  size_t i = blake3::CompressLanes({.at = bytes.data(), .blocks = kChunk / kBlock, .chunk = first},
                                   bytes.size() / kChunk, chunks.data());
  for (; i < chunks.size(); ++i)
    chunks[i] = Chunk(bytes.substr(i * kChunk, kChunk), first + i).End();
  return Join(std::move(chunks));
}

std::string RootHex(const Node& root) {
  const Blake3Value value = root.End(blake3::kRoot);
  return absl::BytesToHexString({reinterpret_cast<const char*>(value.data()), sizeof(value)});
}

}  // namespace

std::string Blake3Hex(std::string_view bytes) { return RootHex(Tree(bytes, 0)); }

Blake3Value Blake3OfPiece(std::string_view piece, uint64_t index) {
  return Tree(piece, index * (kBlake3Piece / kChunk)).End();
}

std::string Blake3Hex(std::span<const Blake3Value> pieces) {
  return RootHex(Join({pieces.begin(), pieces.end()}));
}

}  // namespace tiltshift
