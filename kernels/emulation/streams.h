// Streams of the shim: queues of work that run when they are waited for.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "kernels/emulation/cuda_shim.h"
#include "kernels/emulation/trace.h"

struct CUgraph_st {
  std::vector<std::function<void()>> work;
};
struct CUgraphExec_st {
  std::shared_ptr<const CUgraph_st> graph;
};

struct CUstream_st {
  std::deque<std::function<void()>> queue;
  std::unique_ptr<CUgraph_st> captured;  // while capturing
};

struct CUevent_st {
  cudaStream_t stream = nullptr;  // that it was last recorded in
  int64_t recorded = 0;           // how often it was recorded, and how often reached
  int64_t reached = 0;
  std::chrono::steady_clock::time_point time;
};

namespace tiltshift::emulation {

// All calls of the shim hold `mutex`; work runs on the thread that waits for it.
struct Streams {
  std::recursive_mutex mutex;
  CUstream_st null_stream;
  std::set<cudaStream_t> all;
  cudaError_t sticky = cudaSuccess;
  cudaError_t last = cudaSuccess;
  Trace trace;

  bool Known(cudaStream_t stream) const { return stream == nullptr || all.count(stream) != 0; }
  // Puts work into a stream, or into the graph that it captures.
  cudaError_t Push(cudaStream_t stream, std::function<void()> work);
  void Drain(CUstream_st& stream);
  void DrainAll();
  // Runs the event's stream until the event is reached as often as it had been recorded.
  void Reach(cudaEvent_t event, int64_t times);
  void Tell(Call call) {
    call.captured = call.stream != nullptr && call.stream->captured != nullptr;
    trace.Add(call);
  }
  // Notes an error for cudaGetLastError.
  cudaError_t Note(cudaError_t error);
  // The sticky error, if there is one, else `otherwise`.
  cudaError_t Result(cudaError_t otherwise = cudaSuccess);
};

Streams& TheStreams();

}  // namespace tiltshift::emulation
