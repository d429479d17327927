// Where each tensor of a graph lies in one block of memory: tensors whose lives don't meet share
// bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/graph.h"
#include "engine/memory_blocks.h"

namespace tiltshift::engine::cpu {

class MemoryPlan {
 public:
  // `activation_bytes`: of one element of kind kActivation.
  MemoryPlan(const Graph& graph, size_t activation_bytes);

  // Bytes that only node `node` uses, while it runs. Before Place.
  void AddScratch(int node, size_t bytes);
  // A tensor takes this many bytes at least. Before Place.
  void Enlarge(int tensor, size_t bytes);
  // Decides every offset.
  void Place();

  size_t bytes() const { return bytes_; }
  size_t TensorOffset(int tensor) const { return blocks_[block_of_[tensor]].offset; }
  size_t ScratchOffset(int node) const { return blocks_[scratch_of_[node]].offset; }
  size_t ElementBytes(Element element) const {
    return element == Element::kFloat ? sizeof(float) : activation_bytes_;
  }
  // Node `node` adds its residual in place: the residual is used by nothing later, and lies where y
  // does.
  bool InPlace(int node) const { return in_place_[node]; }

 private:
  void FindLives(const Graph& graph);
  void ShareResiduals(const Graph& graph);

  size_t activation_bytes_;
  std::vector<MemoryBlock> blocks_;
  std::vector<int> block_of_;    // [tensors]
  std::vector<int> scratch_of_;  // [nodes]
  std::vector<char> in_place_;   // [nodes]
  size_t bytes_ = 0;
};

}  // namespace tiltshift::engine::cpu
