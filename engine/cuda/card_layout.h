// Where a graph's tensors lie on the card, and which operations others do on the way.
//
// Activations are rows of 2-byte numbers, padded with zeros to a multiple of 8 channels, which is
// what the kernels move at once; floats lie densely, as the host writes and reads them. A batch's
// samples follow each other. Everything lies in one block of memory, planned once.
//
// Folded: an upsampling that only a 3x3 convolution reads happens in that convolution's loads, as
// does a group norm where that takes less time; a linear layer that only a GEGLU reads is one
// product with it, and a convolution with the function that alone reads it. Concatenations are no
// operations where their parts can be written to their place at once; a residual that nothing needs
// later is added in place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/graph.h"
#include "engine/memory_blocks.h"

namespace tiltshift::engine::cuda {

inline constexpr int kChannelPiece = 8;
inline int PaddedChannels(int channels) {
  return (channels + kChannelPiece - 1) / kChannelPiece * kChannelPiece;
}

class CardLayout {
 public:
  CardLayout(const Graph& graph, int batch);

  size_t bytes() const { return bytes_; }
  int batch() const { return batch_; }
  // Done by another operation.
  bool IsFolded(int node) const { return folded_into_[node] >= 0; }
  // The operation before it that `node` does as well, or -1.
  int FoldedIn(int node) const { return folds_[node]; }

  // Bytes from the memory's beginning to a sample's first number.
  size_t Offset(const Value& value, int sample = 0) const;
  // Numbers from a row to the next.
  int64_t Stride(const Value& value) const { return blocks_of_[home_[value.tensor].block].stride; }
  size_t ElementBytes(const Value& value) const;
  bool SamePlace(const Value& a, const Value& b) const {
    return Offset(a) == Offset(b) && Stride(a) == Stride(b);
  }

 private:
  struct Home {
    int block;
    int channel;
  };
  struct BlockRows {
    int64_t rows, stride;
    int tensors;  // that have their home there
  };
  void FindFolds();
  bool FoldsInto(const Op& op, int reader) const;
  bool NormFoldsInto(const GroupNormOp& norm, const ConvOp& conv) const;
  void Fold(int node, int into);
  int LastOf(int node) const;
  bool ReadsFolded(int node, int tensor) const;
  void ShareConcats();
  void FindLives();
  void ShareResiduals();
  void MoveTo(int tensor, int block, int channel);
  int SoleReader(int tensor) const;

  const Graph& graph_;
  int batch_;
  std::vector<int> folded_into_, folds_;  // [nodes]
  std::vector<Home> home_;                // [tensors]
  std::vector<BlockRows> blocks_of_;      // [tensors]: a block begins as one tensor's
  std::vector<MemoryBlock> blocks_;       // the same
  size_t bytes_ = 0;
};

}  // namespace tiltshift::engine::cuda
