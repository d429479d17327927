#include "kernels/bench/card_timer.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "kernels/testing/device_buffer.h"

namespace tiltshift::kernels::bench {
namespace {

constexpr int kBatches = 7;
constexpr double kBatchSeconds = 0.003;

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

  double Seconds(const std::function<void(cudaStream_t, int)>& work, int runs) {
    TS_CHECK(cudaEventRecord(begin_, stream_) == cudaSuccess);
    for (int i = 0; i < runs; ++i) work(stream_, next_++);
    TS_CHECK(cudaEventRecord(end_, stream_) == cudaSuccess);
    TS_CHECK(cudaEventSynchronize(end_) == cudaSuccess);
    float milliseconds = 0;
    TS_CHECK(cudaEventElapsedTime(&milliseconds, begin_, end_) == cudaSuccess);
    return milliseconds * 1e-3 / runs;
  }

 private:
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
  int next_ = 0;
};

}  // namespace

double SecondsOf(const std::function<void(cudaStream_t, int)>& work) {
  Timer timer;
  timer.Seconds(work, 2);
  const double once = timer.Seconds(work, 3);
  const int runs = std::clamp(static_cast<int>(kBatchSeconds / once), 1, 200);
  std::vector<double> batches;
  for (int i = 0; i < kBatches; ++i) batches.push_back(timer.Seconds(work, runs));
  std::nth_element(batches.begin(), batches.begin() + kBatches / 2, batches.end());
  return batches[kBatches / 2];
}

double CopyBandwidth() {
  constexpr int64_t kBytes = int64_t{1} << 30;
  const testing::DeviceBuffer<char> from(kBytes), to(kBytes);
  const double seconds = SecondsOf([&](cudaStream_t stream, int) {
    cudaMemcpyAsync(to.get(), from.get(), kBytes, cudaMemcpyDeviceToDevice, stream);
  });
  return 2 * kBytes / seconds;
}

}  // namespace tiltshift::kernels::bench
