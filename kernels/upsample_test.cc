#include "kernels/upsample.h"

#include <gtest/gtest.h>

#include "kernels/testing/device_buffer.h"
#include "kernels/testing/kernel_test.h"

namespace tiltshift::kernels {
namespace {

using testing::DeviceBuffer;
using testing::RandomNumbers;

class UpsampleTest : public testing::KernelTest {};

template <class T>
void CheckEachPosition() {
  constexpr int kBatch = 2, kHeight = 3, kWidth = 5, kChannels = 16, kStride = 24;
  for (const int out_height : {6, 5}) {
    for (const int out_width : {10, 9}) {
      const std::vector<T> x = RandomNumbers<T>(kBatch * kHeight * kWidth * kStride, 1);
      const DeviceBuffer<T> from(x);
      const DeviceBuffer<T> to(int64_t{kBatch} * out_height * out_width * kStride);
      ASSERT_EQ(cudaMemset(to.get(), 0, to.count() * sizeof(T)), cudaSuccess);
      const UpsampleArguments<T> arguments = {.batch = kBatch,
                                              .height = kHeight,
                                              .width = kWidth,
                                              .out_height = out_height,
                                              .out_width = out_width,
                                              .channels = kChannels,
                                              .x = from.get(),
                                              .x_stride = kStride,
                                              .y = to.get(),
                                              .y_stride = kStride};
      ASSERT_EQ(Upsample(nullptr, arguments), cudaSuccess);
      const std::vector<T> y = to.Read();
      for (int64_t at = 0; at < to.count(); ++at) {
        const int64_t channel = at % kStride, position = at / kStride;
        const int64_t column = position % out_width, line = position / out_width;
        const int64_t sample = line / out_height, row = line % out_height;
        const int64_t source = (sample * kHeight + row / 2) * kWidth + column / 2;
        const int expected = channel < kChannels ? x[source * kStride + channel].bits : 0;
        ASSERT_EQ(y[at].bits, expected) << "number " << at;
      }
    }
  }
}

TEST_F(UpsampleTest, EachPositionFourTimesAndOddSidesCut) {
  CheckEachPosition<Bf16>();
  CheckEachPosition<Fp16>();
}

TEST_F(UpsampleTest, RefusesOtherSizes) {
  const DeviceBuffer<Bf16> buffer(1024);
  UpsampleArguments<Bf16> arguments = {.height = 2,
                                       .width = 2,
                                       .out_height = 4,
                                       .out_width = 4,
                                       .channels = 8,
                                       .x = buffer.get(),
                                       .x_stride = 8,
                                       .y = buffer.get() + 512,
                                       .y_stride = 8};
  arguments.out_width = 5;
  EXPECT_EQ(Upsample(nullptr, arguments), cudaErrorInvalidValue);
  arguments.out_width = 4;
  arguments.channels = 7;
  EXPECT_EQ(Upsample(nullptr, arguments), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace tiltshift::kernels
