// The shim of the CUDA runtime: order, laziness, events, graphs, errors.
#include <gtest/gtest.h>

#include <vector>

#include "kernels/emulation/cuda_shim.h"
#include "kernels/launch.h"

namespace tiltshift::kernels {
namespace {

struct AddArguments {
  float* x;
  int count;
  float amount;
};
void AddKernel(AddArguments p) {
  const int i = static_cast<int>(BlockIndex().x * BlockSize().x + ThreadIndex().x);
  if (i < p.count) Store(GlobalPtr(p.x) + i, Load(GlobalPtr(p.x) + i) + p.amount);
}
cudaError_t Add(cudaStream_t stream, float* x, int count, float amount) {
  return Launch<&AddKernel>(stream,
                            {.grid = {static_cast<unsigned>((count + 63) / 64)}, .block = {64}},
                            {x, count, amount});
}

class ShimTest : public ::testing::Test {
 protected:
  static constexpr int kCount = 100;

  void SetUp() override {
    ASSERT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
    ASSERT_EQ(cudaMalloc(&x_, kCount * 4), cudaSuccess);
    ASSERT_EQ(cudaMemset(x_, 0, kCount * 4), cudaSuccess);
  }
  void TearDown() override {
    emulation::TheCard().findings().Take();
    emulation::ResetError();
    EXPECT_EQ(cudaFree(x_), cudaSuccess);
    EXPECT_EQ(cudaStreamDestroy(stream_), cudaSuccess);
  }
  float First() {
    float first = -1;
    EXPECT_EQ(cudaMemcpy(&first, x_, 4, cudaMemcpyDeviceToHost), cudaSuccess);
    return first;
  }

  cudaStream_t stream_ = nullptr;
  float* x_ = nullptr;
};

TEST_F(ShimTest, WorkRunsInOrderWhenWaitedFor) {
  float host = 5;
  ASSERT_EQ(cudaMemcpyAsync(x_, &host, 4, cudaMemcpyHostToDevice, stream_), cudaSuccess);
  ASSERT_EQ(Add(stream_, x_, kCount, 2), cudaSuccess);
  float result = -1;
  ASSERT_EQ(cudaMemcpyAsync(&result, x_, 4, cudaMemcpyDeviceToHost, stream_), cudaSuccess);
  EXPECT_EQ(result, -1) << "nothing was waited for";
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(result, 7);
}

TEST_F(ShimTest, AnEventOrdersTwoStreams) {
  cudaStream_t other;
  cudaEvent_t event;
  ASSERT_EQ(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
  ASSERT_EQ(Add(stream_, x_, kCount, 3), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(event, stream_), cudaSuccess);
  ASSERT_EQ(Add(stream_, x_, kCount, 10), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(other, event, 0), cudaSuccess);
  float seen = -1;
  ASSERT_EQ(cudaMemcpyAsync(&seen, x_, 4, cudaMemcpyDeviceToHost, other), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(other), cudaSuccess);
  EXPECT_EQ(seen, 3);
  EXPECT_EQ(First(), 13);
  EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(other), cudaSuccess);
}

TEST_F(ShimTest, AGraphReplaysWhatWasCaptured) {
  ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  ASSERT_EQ(Add(stream_, x_, kCount, 1), cudaSuccess);
  ASSERT_EQ(Add(stream_, x_, kCount, 2), cudaSuccess);
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  ASSERT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  ASSERT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(First(), 0);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(cudaGraphLaunch(executable, stream_), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(First(), 9);
  EXPECT_EQ(cudaGraphExecDestroy(executable), cudaSuccess);
}

TEST_F(ShimTest, AnErrorOfAKernelShowsWhenWaitedForAndSticks) {
  {
    emulation::Tracked tracked;
    ASSERT_EQ(Add(stream_, x_, kCount + 1, 1), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorLaunchFailure);
  }
  float* more;
  EXPECT_EQ(cudaMalloc(&more, 4), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchFailure);
}

TEST_F(ShimTest, WrongCallsAreRefused) {
  float host[2] = {};
  EXPECT_EQ(cudaMemcpy(host, host, 4, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(x_ + kCount - 1, host, 8, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(x_ + 1), cudaErrorInvalidValue);
  const LaunchShape too_large = {.grid = {1}, .block = {2048}};
  EXPECT_EQ((Launch<&AddKernel>(stream_, too_large, {x_, kCount, 1})), cudaErrorInvalidValue);
  const LaunchShape too_full = {.grid = {1}, .block = {32}, .shared_bytes = (99 << 10) + 1};
  EXPECT_EQ((Launch<&AddKernel>(stream_, too_full, {x_, kCount, 1})), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "not sticky";
}

TEST_F(ShimTest, MemoryRunsOut) {
  emulation::TheCard().memory().set_limit(emulation::TheCard().memory().bytes_in_use() + 1000);
  void* memory;
  EXPECT_EQ(cudaMalloc(&memory, 2000), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&memory, 500), cudaSuccess);
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
  emulation::TheCard().memory().set_limit(size_t{1} << 40);
}

}  // namespace
}  // namespace tiltshift::kernels
