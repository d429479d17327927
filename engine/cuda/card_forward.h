// A graph on the card for a batch of samples: memory, stream, and the whole forward, with what is
// done before and after it, as one CUDA graph.
#pragma once

#include <functional>
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
  // Inputs from the sides before, outputs to the sides after. `graph` and `weights` must outlive
  // it. ResourceExhausted: too little memory; Unimplemented: an operation that no kernel does.
  static absl::StatusOr<std::unique_ptr<CardForward>> New(const Graph& graph, CardWeights& weights,
                                                          std::span<const HostSide* const> sides);
  // Inputs and outputs stay where they are, and `after` follows.
  using Launchable = std::function<cudaError_t(cudaStream_t)>;
  using After = std::function<Launchable(const CardForward&)>;  // made once memory is there
  static absl::StatusOr<std::unique_ptr<CardForward>> NewOnCard(const Graph& graph,
                                                                CardWeights& weights, int batch,
                                                                const After& after);
  ~CardForward();
  CardForward(const CardForward&) = delete;
  CardForward& operator=(const CardForward&) = delete;

  // Allocates nothing. Run returns when all is done, Start before.
  absl::Status Run();
  absl::Status Start();
  cudaStream_t stream() const { return stream_; }
  char* At(const Value& value, int sample) const {
    return memory_.get() + layout_.Offset(value, sample);
  }
  int64_t Stride(const Value& value) const { return layout_.Stride(value); }
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
  absl::Status Prepare(CardWeights& weights);
  // `refused`: the operation whose launch failed.
  cudaError_t Launch(std::string* refused) const;
  cudaError_t Transfer(cudaMemcpyKind kind) const;
  absl::Status Capture();

  const Graph& graph_;
  const CardLayout layout_;
  std::vector<const HostSide*> sides_;
  DeviceBytes memory_, scratch_;
  std::vector<Step> steps_;
  Launchable after_;
  cudaStream_t stream_ = nullptr;
  cudaGraphExec_t captured_ = nullptr;  // null: the card would not; steps are launched one by one
  std::map<std::pair<int, int>, uint64_t> bound_;  // (tensor, sample) -> buffer
};

}  // namespace tiltshift::engine::cuda
