#include "kernels/elementwise.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/check.h"
#include "kernels/testing/compare.h"
#include "kernels/testing/device_buffer.h"
#include "kernels/testing/kernel_test.h"

namespace tiltshift::kernels {
namespace {

using testing::DeviceBuffer;
using testing::Expected;
using testing::RandomNumbers;
using testing::Rounding;
using ElementwiseTest = testing::KernelTest;

// The card's functions are good to a few ulp; tanh and the products around them add some.
constexpr double kFunction = 12 * 0x1p-24;

double Exact(Mapping mapping, double x) {
  switch (mapping) {
    case Mapping::kSilu:
      return x / (1 + std::exp(-x));
    case Mapping::kGelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Mapping::kQuickGelu:
      return x / (1 + std::exp(-1.702 * x));
    case Mapping::kRelu:
      return std::max(x, 0.0);
    case Mapping::kSoftClamp:
      return 3 * std::tanh(x / 3);
    default:
      return x;
  }
}

template <class Y>
Expected Rounded(double value, double error) {
  return {value, error + Rounding<Y>() * (std::fabs(value) + error) + 0x1p-30};
}

template <class Y>
void Check(const std::vector<Y>& results, const std::vector<Expected>& expected) {
  ASSERT_EQ(results.size(), expected.size());
  const testing::Comparison comparison = testing::Compare(results, expected);
  EXPECT_LE(comparison.worst, 1) << comparison.Describe();
}

template <class X, class Y>
void CheckMap(Mapping mapping, int rows, int channels, int extra) {
  const int64_t x_stride = channels + extra, y_stride = channels + 2 * extra;
  const std::vector<X> x = RandomNumbers<X>(rows * x_stride, 1, 6);
  const DeviceBuffer<X> device_x(x);
  const DeviceBuffer<Y> y(std::vector<Y>(rows * y_stride, FromFloat<Y>(3)));
  ASSERT_EQ((Map<X, Y>(nullptr, {.rows = rows,
                                 .channels = channels,
                                 .x = device_x.get(),
                                 .x_stride = x_stride,
                                 .y = y.get(),
                                 .y_stride = y_stride,
                                 .mapping = mapping})),
            cudaSuccess);
  std::vector<Expected> expected(rows * y_stride, {3, 1e-300});
  for (int row = 0; row < rows; ++row) {
    for (int i = 0; i < channels; ++i) {
      const double from = ToFloat(x[row * x_stride + i]);
      // Of x, since gelu's tail is a difference of nearly equal numbers.
      const double error = mapping == Mapping::kNone ? 0 : kFunction * std::fabs(from);
      expected[row * y_stride + i] = Rounded<Y>(Exact(mapping, from), error);
    }
  }
  Check(y.Read(), expected);
}

TEST_F(ElementwiseTest, MapsInEveryTypeAndWithTails) {
  for (const Mapping mapping : {Mapping::kNone, Mapping::kSilu, Mapping::kGelu, Mapping::kQuickGelu,
                                Mapping::kRelu, Mapping::kSoftClamp}) {
    for (const auto& [rows, channels, extra] : {std::array{5, 320, 0}, {3, 40, 8}, {7, 13, 3}}) {
      CheckMap<Bf16, Bf16>(mapping, rows, channels, extra);
      CheckMap<Fp16, float>(mapping, rows, channels, extra);
      CheckMap<float, Bf16>(mapping, rows, channels, extra);
      CheckMap<float, float>(mapping, rows, channels, extra);
    }
  }
}

template <class T>
void CheckGeglu(int rows, int channels) {
  const std::vector<T> x = RandomNumbers<T>(int64_t{rows} * 2 * channels, 1, 4);
  const DeviceBuffer<T> device_x(x);
  const DeviceBuffer<T> y(int64_t{rows} * channels);
  ASSERT_EQ(Geglu<T>(nullptr, {.rows = rows,
                               .channels = channels,
                               .x = device_x.get(),
                               .x_stride = 2 * channels,
                               .y = y.get(),
                               .y_stride = channels}),
            cudaSuccess);
  std::vector<Expected> expected;
  for (int row = 0; row < rows; ++row) {
    for (int i = 0; i < channels; ++i) {
      const double value = ToFloat(x[row * 2 * channels + i]);
      const double gate = ToFloat(x[row * 2 * channels + channels + i]);
      expected.push_back(
          Rounded<T>(value * Exact(Mapping::kGelu, gate), kFunction * std::fabs(value * gate)));
    }
  }
  Check(y.Read(), expected);
}

TEST_F(ElementwiseTest, GegluTakesTheSecondHalfForTheGate) {
  CheckGeglu<Bf16>(9, 1280);
  CheckGeglu<Fp16>(3, 20);
}

TEST_F(ElementwiseTest, PlanarToRowsAndBack) {
  constexpr int kBatch = 2, kChannels = 4, kPositions = 300, kStride = 16;
  const std::vector<float> x = RandomNumbers<float>(kBatch * kChannels * kPositions, 1);
  const DeviceBuffer<float> device_x(x), back(x.size());
  const DeviceBuffer<Bf16> y(std::vector<Bf16>(kBatch * kPositions * kStride, FromFloat<Bf16>(3)));
  ASSERT_EQ(FromPlanar<Bf16>(nullptr, {.batch = kBatch,
                                       .channels = kChannels,
                                       .positions = kPositions,
                                       .x = device_x.get(),
                                       .factor = 5.5f,
                                       .summand = 0.25f,
                                       .y = y.get(),
                                       .y_stride = kStride,
                                       .y_channels = 8}),
            cudaSuccess);
  ASSERT_EQ(ToPlanar<Bf16>(nullptr, {.batch = kBatch,
                                     .channels = kChannels,
                                     .positions = kPositions,
                                     .x = y.get(),
                                     .x_stride = kStride,
                                     .y = back.get()}),
            cudaSuccess);
  std::vector<Expected> rows(kBatch * kPositions * kStride, {3, 1e-300}), planes(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t position = i % kPositions, channel = i / kPositions % kChannels;
    const size_t row = i / kPositions / kChannels * kPositions + position;
    planes[i] = rows[row * kStride + channel] = Rounded<Bf16>(5.5 * x[i] + 0.25, 0x1p-20);
    rows[row * kStride + 4 + channel] = {0, 1e-300};
  }
  Check(y.Read(), rows);
  Check(back.Read(), planes);
}

TEST_F(ElementwiseTest, EmbedsTokensAtTheirPlaces) {
  constexpr int kRows = 14, kLength = 7, kVocabulary = 50;
  for (const int channels : {128, 12}) {
    const std::vector<Fp16> tokens = RandomNumbers<Fp16>(kVocabulary * channels, 1);
    const std::vector<Fp16> places = RandomNumbers<Fp16>(kLength * channels, 2);
    std::vector<int32_t> ids;
    for (int row = 0; row < kRows; ++row) ids.push_back((row * 37 + 49) % kVocabulary);
    const DeviceBuffer<Fp16> device_tokens(tokens), device_places(places), y(kRows * channels);
    const DeviceBuffer<int32_t> device_ids(ids);
    ASSERT_EQ(Embed<Fp16>(nullptr, {.rows = kRows,
                                    .length = kLength,
                                    .channels = channels,
                                    .ids = device_ids.get(),
                                    .tokens = device_tokens.get(),
                                    .places = device_places.get(),
                                    .y = y.get()}),
              cudaSuccess);
    std::vector<Expected> expected;
    for (int row = 0; row < kRows; ++row) {
      for (int i = 0; i < channels; ++i) {
        expected.push_back(
            Rounded<Fp16>(static_cast<double>(ToFloat(tokens[ids[row] * channels + i])) +
                              ToFloat(places[row % kLength * channels + i]),
                          0x1p-24));
      }
    }
    Check(y.Read(), expected);
  }
}

uint8_t ByteOf(float value) {
  const float unit = std::fmin(std::fmax(value * 0.5f + 0.5f, 0.0f), 1.0f);
  return static_cast<uint8_t>(std::nearbyint(unit * 255.0f));
}

TEST_F(ElementwiseTest, APictureBecomesBytes) {
  constexpr int kPositions = 333, kStride = 4;
  const std::vector<float> x = RandomNumbers<float>(kPositions * kStride, 1, 1.3f);
  const DeviceBuffer<float> device_x(x);
  const DeviceBuffer<uint8_t> y(3 * kPositions);
  ASSERT_EQ(PictureToBytes<float>(
                nullptr,
                {.positions = kPositions, .x = device_x.get(), .x_stride = kStride, .y = y.get()}),
            cudaSuccess);
  const std::vector<uint8_t> bytes = y.Read();
  for (int i = 0; i < 3 * kPositions; ++i) {
    EXPECT_EQ(bytes[i], ByteOf(x[i / 3 * kStride + i % 3])) << i;
  }
}

TEST_F(ElementwiseTest, ALatentHasAPreview) {
  constexpr int kBatch = 2, kChannels = 4, kPositions = 70;
  const std::vector<float> x = RandomNumbers<float>(kBatch * kChannels * kPositions, 1);
  const DeviceBuffer<float> device_x(x);
  const DeviceBuffer<uint8_t> y(kBatch * kPositions * 3);
  PreviewArguments arguments = {.batch = kBatch,
                                .channels = kChannels,
                                .positions = kPositions,
                                .latent = device_x.get(),
                                .summands = {0.1f, -0.2f, 0.3f},
                                .y = y.get()};
  for (int c = 0; c < 3; ++c) {
    for (int i = 0; i < kChannels; ++i) arguments.factors[c][i] = 0.2f * static_cast<float>(i - c);
  }
  ASSERT_EQ(Preview(nullptr, arguments), cudaSuccess);
  const std::vector<uint8_t> bytes = y.Read();
  for (int i = 0; i < kBatch * kPositions * 3; ++i) {
    const int sample = i / 3 / kPositions, position = i / 3 % kPositions, c = i % 3;
    double colour = arguments.summands[c];
    for (int channel = 0; channel < kChannels; ++channel) {
      colour += static_cast<double>(arguments.factors[c][channel]) *
                x[(sample * kChannels + channel) * kPositions + position];
    }
    EXPECT_NEAR(bytes[i], std::fmin(std::fmax(colour * 127.5 + 127.5, 0), 255), 0.501) << i;
  }
}

#ifdef TILTSHIFT_EMULATED
TEST_F(ElementwiseTest, WholeRowsMoveInWholeSectors) {
  emulation::TheCard().TakeCounters();
  CheckMap<Bf16, Bf16>(Mapping::kSilu, 16, 320, 0);
  const emulation::Counters counters = emulation::TheCard().TakeCounters();
  EXPECT_EQ(counters.global_bytes_loaded, 16 * 320 * 2);
  EXPECT_EQ(counters.global_bytes_stored, 16 * 320 * 2);
  EXPECT_EQ(counters.sectors, counters.ideal_sectors);
  EXPECT_EQ(counters.global_loads, 16 * 320 / 8 / 32);
}
#endif

}  // namespace
}  // namespace tiltshift::kernels
