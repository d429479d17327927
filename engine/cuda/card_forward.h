// A graph on the card for a batch of samples: memory, stream, and the whole forward, its transfers
// included, as one CUDA graph.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <vector>

#include "engine/backend.h"
#include "engine/cuda/card.h"
#include "engine/cuda/card_steps.h"

namespace tiltshift::engine::cuda {

// A sample's inputs and outputs on the host, pinned.
class HostSide {
 public:
  static absl::StatusOr<HostSide> New(const Graph& graph);
  std::span<float> Of(const Value& value) const;

 private:
  PinnedBytes memory_;
  std::vector<size_t> offsets_;  // [tensors]
};

class CardForward {
 public:
  // `graph` and `weights` must outlive it. ResourceExhausted: too little memory; Unimplemented: an
  // operation that no kernel does.
  static absl::StatusOr<std::unique_ptr<CardForward>> New(const Graph& graph, CardWeights& weights,
                                                          std::span<const HostSide* const> sides);
  ~CardForward();
  CardForward(const CardForward&) = delete;
  CardForward& operator=(const CardForward&) = delete;

  // Inputs from the sides, the graph, outputs to the sides. Allocates nothing; returns when all is
  // done.
  absl::Status Run();
  // What `buffer` holds becomes a sample's input; nothing happens where it is there already.
  absl::Status Bind(const Value& input, int sample, const char* buffer, uint64_t buffer_id);
  // A copy of an output to `to`, on the card.
  absl::Status CopyOut(const Value& output, int sample, char* to) const;
  size_t BytesOf(const Value& value) const;  // of a sample, padding included
  size_t memory_bytes() const { return layout_.bytes(); }

  // Each operation's seconds in `runs` runs, the smallest of each; with `alone`, over and over by
  // itself.
  absl::StatusOr<std::vector<double>> Profile(int runs, bool alone);

 private:
  CardForward(const Graph& graph, int batch) : graph_(graph), layout_(graph, batch) {}
  cudaError_t Launch() const;
  cudaError_t Transfer(cudaMemcpyKind kind) const;
  absl::Status Capture();
  absl::Status StatusOf(cudaError_t error, const char* doing) const;

  const Graph& graph_;
  const CardLayout layout_;
  std::vector<const HostSide*> sides_;
  DeviceBytes memory_, scratch_;
  std::vector<Step> steps_;
  cudaStream_t stream_ = nullptr;
  cudaGraphExec_t captured_ = nullptr;  // null: the card would not; steps are launched one by one
  std::map<std::pair<int, int>, uint64_t> bound_;  // (tensor, sample) -> buffer
};

}  // namespace tiltshift::engine::cuda
