#include "kernels/testing/conv_case.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "kernels/testing/device_buffer.h"

namespace tiltshift::kernels::testing {
namespace {

// A case's numbers, on the host.
template <class T>
struct Data {
  explicit Data(const ConvCase& c)
      : shape(c.shape),
        x_stride(shape.channels + c.extra_stride),
        y_stride(shape.out_channels + c.extra_stride),
        sample_rows(shape.out_height * shape.out_width),
        taps(shape.kernel * shape.kernel),
        x(RandomNumbers<T>(int64_t{shape.batch} * shape.height * shape.width * x_stride, 1)),
        w(RandomNumbers<T>(int64_t{shape.out_channels} * taps * shape.channels, 2,
                           2.0f / std::sqrt(static_cast<float>(taps * shape.channels)))),
        bias(RandomNumbers<float>(shape.out_channels, 3)),
        sample_bias(RandomNumbers<float>(int64_t{shape.batch} * shape.out_channels, 4)),
        residual(RandomNumbers<T>(int64_t{shape.batch} * sample_rows * y_stride, 5)) {}

  ConvShape shape;
  int64_t x_stride, y_stride;
  int sample_rows, taps;
  std::vector<T> x, w;
  std::vector<float> bias, sample_bias;
  std::vector<T> residual;
};

// Samples [first, first + batch).
template <class T, class Y>
std::vector<Y> RunOnCard(const ConvCase& c, const Data<T>& data, int first, int batch) {
  const DeviceBuffer<T> x(data.x), w(data.w), residual(data.residual);
  const DeviceBuffer<float> bias(data.bias), sample_bias(data.sample_bias);
  const DeviceBuffer<float> partials(
      c.splits > 1 ? c.splits * int64_t{batch} * data.sample_rows * data.shape.out_channels : 1);
  const DeviceBuffer<Y> y(int64_t{batch} * data.sample_rows * data.y_stride);
  ConvArguments<T> arguments = {
      .shape = data.shape,
      .x = x.get() + int64_t{first} * data.shape.height * data.shape.width * data.x_stride,
      .x_stride = data.x_stride,
      .w = w.get(),
      .y = y.get(),
      .y_stride = data.y_stride,
      .tile = c.tile,
      .split = {c.splits, partials.get()},
      .epilogue = {.bias = c.bias ? bias.get() : nullptr,
                   .sample_bias = c.sample_bias
                                      ? sample_bias.get() + first * data.shape.out_channels
                                      : nullptr,
                   .rows_per_sample = data.sample_rows,
                   .residual = c.residual ? residual.get() +
                                                int64_t{first} * data.sample_rows * data.y_stride
                                          : nullptr,
                   .residual_stride = data.y_stride,
                   .float_output = c.float_output},
  };
  arguments.shape.batch = batch;
  TS_CHECK(cudaMemset(y.get(), 0, y.count() * sizeof(Y)) == cudaSuccess);
  TS_CHECK(Conv<T>(nullptr, arguments) == cudaSuccess);
  return y.Read();
}

// The offset of the position under a tap, -1 outside.
int64_t PositionUnder(const ConvShape& s, int sample, int y, int x) {
  const int scale = s.upsample ? 2 : 1;
  if (y < 0 || x < 0 || y >= s.height * scale || x >= s.width * scale) return -1;
  return (int64_t{sample} * s.height + y / scale) * s.width + x / scale;
}

template <class T>
Expected ResultOf(const ConvCase& c, const Data<T>& data, int row, int n) {
  const ConvShape& s = data.shape;
  const int sample = row / data.sample_rows;
  const int oy = row % data.sample_rows / s.out_width, ox = row % s.out_width;
  double sum = 0, magnitude = 0;
  const auto add = [&](double term) {
    sum += term;
    magnitude += std::fabs(term);
  };
  for (int tap = 0; tap < data.taps; ++tap) {
    const int64_t position = PositionUnder(s, sample, oy * s.stride - s.pad + tap / s.kernel,
                                           ox * s.stride - s.pad + tap % s.kernel);
    if (position < 0) continue;
    for (int channel = 0; channel < s.channels; ++channel) {
      add(static_cast<double>(ToFloat(data.x[position * data.x_stride + channel])) *
          ToFloat(data.w[(int64_t{n} * data.taps + tap) * s.channels + channel]));
    }
  }
  if (c.bias) add(data.bias[n]);
  if (c.sample_bias) add(data.sample_bias[sample * s.out_channels + n]);
  Expected result = {sum, (data.taps * s.channels + 2) * 0x1p-24 * magnitude};
  if (c.residual) result.value += ToFloat(data.residual[row * data.y_stride + n]);
  const double rounding = c.float_output ? Rounding<float>() : Rounding<T>();
  result.bound += rounding * (std::fabs(result.value) + result.bound) + 0x1p-24;
  return result;
}

template <class T, class Y>
Comparison CompareRows(const ConvCase& c, int rows) {
  const Data<T> data(c);
  const std::vector<Y> y = RunOnCard<T, Y>(c, data, 0, data.shape.batch);
  std::vector<Expected> expected;
  std::vector<Y> results;
  const int all = data.shape.batch * data.sample_rows;
  const int checked = std::min(rows, all);
  for (int i = 0; i < checked; ++i) {
    const int row = static_cast<int>(int64_t{i} * all / checked);
    for (int n = 0; n < data.shape.out_channels; ++n) {
      expected.push_back(ResultOf(c, data, row, n));
      results.push_back(y[row * data.y_stride + n]);
    }
    for (int64_t n = data.shape.out_channels; n < data.y_stride; ++n) {  // what lies between rows
      expected.push_back({0, 1e-300});
      results.push_back(y[row * data.y_stride + n]);
    }
  }
  return Compare(results, expected);
}

}  // namespace

template <class T>
Comparison RunConvCase(const ConvCase& c, int rows) {
  return c.float_output ? CompareRows<T, float>(c, rows) : CompareRows<T, T>(c, rows);
}

template <class T>
bool SameBitsForEachSample(const ConvCase& c) {
  const Data<T> data(c);
  const std::vector<T> whole = RunOnCard<T, T>(c, data, 0, data.shape.batch);
  for (int sample = 0; sample < data.shape.batch; ++sample) {
    const std::vector<T> alone = RunOnCard<T, T>(c, data, sample, 1);
    if (std::memcmp(alone.data(), whole.data() + sample * alone.size(), alone.size() * sizeof(T)) !=
        0) {
      return false;
    }
  }
  return true;
}

template <class T>
uint64_t BitsOf(const ConvCase& c) {
  const Data<T> data(c);
  return HashOf(RunOnCard<T, T>(c, data, 0, data.shape.batch));
}

template Comparison RunConvCase<Bf16>(const ConvCase&, int);
template Comparison RunConvCase<Fp16>(const ConvCase&, int);
template uint64_t BitsOf<Bf16>(const ConvCase&);
template uint64_t BitsOf<Fp16>(const ConvCase&);
template bool SameBitsForEachSample<Bf16>(const ConvCase&);
template bool SameBitsForEachSample<Fp16>(const ConvCase&);

}  // namespace tiltshift::kernels::testing
