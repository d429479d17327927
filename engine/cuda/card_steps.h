// The operations of a graph as launches of kernels, their arguments worked out beforehand.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/cuda/card_layout.h"
#include "engine/cuda/card_weights.h"
#include "engine/graph.h"
#include "kernels/runtime.h"

namespace tiltshift::engine::cuda {

// Puts one operation, or a part of one, into a stream.
struct Step {
  int node;
  std::function<cudaError_t(cudaStream_t)> launch;
};

// What steps are made from.
struct Setting {
  const Graph& graph;
  const CardLayout& layout;
  CardWeights& weights;
  char* memory;        // layout.bytes()
  char* scratch;       // of the step that runs: ScratchBytes of the graph
  uint32_t* arrivals;  // [batch], zeros between steps

  template <class N>
  N* At(const Value& value) const {
    return reinterpret_cast<N*>(memory + layout.Offset(value));
  }
  int rows(const Value& value) const {
    return static_cast<int>(layout.batch() * value.shape.rows());
  }
};

// What the largest of the graph's steps needs while it runs.
size_t ScratchBytes(const Graph& graph, const CardLayout& layout);

// All steps, in order. Unimplemented: an operation of a kind or shape that no kernel does, named.
absl::StatusOr<std::vector<Step>> MakeSteps(const Setting& setting);

// Makers, in files of their own; T is Bf16 or Fp16. Each adds what `node` needs, if anything.
template <class T>
absl::Status AddProduct(const Setting& setting, int node, std::vector<Step>& steps);
template <class T>
absl::Status AddOther(const Setting& setting, int node, std::vector<Step>& steps);
template <class T>
absl::Status AddAttention(const Setting& setting, const AttentionOp& op, int node,
                          std::vector<Step>& steps);
template <class T>
absl::Status AddNorm(const Setting& setting, const GroupNormOp& op, int node,
                     std::vector<Step>& steps);  // with SiLU alone
template <class T>
absl::Status AddNorm(const Setting& setting, const LayerNormOp& op, int node,
                     std::vector<Step>& steps);
template <class T>
void AddMoments(const Setting& setting, const MomentsOp& op, int node, std::vector<Step>& steps);
// Folded in a convolution: `norm` as factors and summands, for the convolution's prologue.
template <class T>
absl::StatusOr<const float*> AddAffine(const Setting& setting, const GroupNormOp& norm, int node,
                                       char* scratch, std::vector<Step>& steps);
size_t ProductScratch(const Op& op, int batch);
size_t AttentionScratch(const AttentionOp& op, int batch);
size_t NormScratch(const Op& op, int batch);
size_t OtherScratch(const Op& op, int batch);

}  // namespace tiltshift::engine::cuda
