#include "kernels/bench/card_timer.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "kernels/testing/device_buffer.h"

namespace tiltshift::kernels::bench {
namespace {

constexpr int kFirstRuns = 3, kBatches = 7;
constexpr double kBatchSeconds = 0.003;

using Work = std::function<void(cudaStream_t, int)>;

class Timer {
 public:
  Timer() {
    TS_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking) == cudaSuccess);
    TS_CHECK(cudaEventCreate(&begin_) == cudaSuccess && cudaEventCreate(&end_) == cudaSuccess);
  }
  ~Timer() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
    cudaStreamDestroy(stream_);
  }

  // Of everything that `put` puts into the stream.
  template <class Put>
  double Seconds(const Put& put) {
    TS_CHECK(cudaEventRecord(begin_, stream_) == cudaSuccess);
    put(stream_);
    TS_CHECK(cudaEventRecord(end_, stream_) == cudaSuccess);
    TS_CHECK(cudaEventSynchronize(end_) == cudaSuccess);
    float milliseconds = 0;
    TS_CHECK(cudaEventElapsedTime(&milliseconds, begin_, end_) == cudaSuccess);
    return milliseconds * 1e-3;
  }

  cudaStream_t stream() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

// Runs of some work as one graph, as the backend launches a step: what a launch costs the host does
// not show.
class Graph {
 public:
  Graph(const Work& work, int runs, cudaStream_t stream) {
    TS_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    for (int i = 0; i < runs; ++i) work(stream, i);
    TS_CHECK(cudaStreamEndCapture(stream, &graph_) == cudaSuccess);
    TS_CHECK(cudaGraphInstantiate(&executable_, graph_, 0) == cudaSuccess);
  }
  ~Graph() {
    cudaGraphExecDestroy(executable_);
    cudaGraphDestroy(graph_);
  }
  void Launch(cudaStream_t stream) const {
    TS_CHECK(cudaGraphLaunch(executable_, stream) == cudaSuccess);
  }

 private:
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace

double SecondsOf(const Work& work) {
  Timer timer;
  const auto some = [&](cudaStream_t stream) {
    for (int i = 0; i < kFirstRuns; ++i) work(stream, i);
  };
  timer.Seconds(some);
  const double once = timer.Seconds(some) / kFirstRuns;
  const int runs = std::clamp(static_cast<int>(kBatchSeconds / once), 1, 200);
  const Graph graph(work, runs, timer.stream());
  std::vector<double> batches;
  for (int i = 0; i <= kBatches; ++i) {
    const double seconds = timer.Seconds([&](cudaStream_t stream) { graph.Launch(stream); });
    if (i > 0) batches.push_back(seconds / runs);  // the first uploads the graph
  }
  std::nth_element(batches.begin(), batches.begin() + kBatches / 2, batches.end());
  return batches[kBatches / 2];
}

// Not in a graph: its copies go another, slower way.
double CopyBandwidth() {
  constexpr int64_t kBytes = int64_t{1} << 30;
  const testing::DeviceBuffer<char> from(kBytes), to(kBytes);
  Timer timer;
  double least = 1;
  for (int i = 0; i < kBatches; ++i) {
    least = std::min(least, timer.Seconds([&](cudaStream_t stream) {
      cudaMemcpyAsync(to.get(), from.get(), kBytes, cudaMemcpyDeviceToDevice, stream);
    }));
  }
  return 2 * kBytes / least;
}

}  // namespace tiltshift::kernels::bench
