#include "kernels/testing/conv_case.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "kernels/norm.h"
#include "kernels/testing/device_buffer.h"
#include "kernels/testing/product_case.h"

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
        residual(RandomNumbers<T>(int64_t{shape.batch} * sample_rows * y_stride, 5)),
        affine(RandomNumbers<float>(int64_t{2} * shape.batch * shape.channels, 6, 2)) {}

  ConvShape shape;
  int64_t x_stride, y_stride;
  int sample_rows, taps;
  std::vector<T> x, w;
  std::vector<float> bias, sample_bias;
  std::vector<T> residual;
  std::vector<float> affine;
};

// Samples [first, first + batch).
template <class T, class Y>
std::vector<Y> RunOnCard(const ConvCase& c, const Data<T>& data, int first, int batch) {
  const DeviceBuffer<T> x(data.x), w(data.w), residual(data.residual);
  const DeviceBuffer<float> bias(data.bias), sample_bias(data.sample_bias), affine(data.affine);
  const DeviceBuffer<float> partials(
      c.splits > 1 ? c.splits * int64_t{batch} * data.sample_rows * data.shape.out_channels : 1);
  const DeviceBuffer<Y> y(int64_t{batch} * data.sample_rows * data.y_stride);
  ConvArguments<T> arguments = {
      .shape = data.shape,
      .x = x.get() + int64_t{first} * data.shape.height * data.shape.width * data.x_stride,
      .x_stride = data.x_stride,
      .prologue = {.affine = c.prologue ? affine.get() + int64_t{2} * first * data.shape.channels
                                        : nullptr,
                   .silu = c.silu},
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

// A number of x as the products see it, and how far it may be off: factor and summand in fp32, a
// fast exponential and reciprocal, one rounding to T.
template <class T>
Expected InputAt(const ConvCase& c, const Data<T>& data, int sample, int64_t position,
                 int channel) {
  const double x = ToFloat(data.x[position * data.x_stride + channel]);
  if (!c.prologue) return {x, 0};
  const float* affine = data.affine.data() + int64_t{2} * sample * data.shape.channels + channel;
  const double product = x * affine[0], summand = affine[data.shape.channels];
  Expected result = {product + summand, 2 * 0x1p-24 * (std::fabs(product) + std::fabs(summand))};
  if (c.silu) {  // its slope is at most 1.1
    result = {result.value / (1 + std::exp(-result.value)),
              1.1 * result.bound + 8 * 0x1p-24 * std::fabs(result.value)};
  }
  return Stored<T>(result, false);
}

template <class T>
Expected ResultOf(const ConvCase& c, const Data<T>& data, int row, int n) {
  const ConvShape& s = data.shape;
  const int sample = row / data.sample_rows;
  const int oy = row % data.sample_rows / s.out_width, ox = row % s.out_width;
  Sum sum;
  for (int tap = 0; tap < data.taps; ++tap) {
    const int64_t position = PositionUnder(s, sample, oy * s.stride - s.pad + tap / s.kernel,
                                           ox * s.stride - s.pad + tap % s.kernel);
    if (position < 0) continue;
    for (int channel = 0; channel < s.channels; ++channel) {
      const Expected x = InputAt(c, data, sample, position, channel);
      const double w = ToFloat(data.w[(int64_t{n} * data.taps + tap) * s.channels + channel]);
      sum.Add(x.value * w, x.bound * std::fabs(w));
    }
  }
  if (c.bias) sum.Add(data.bias[n]);
  if (c.sample_bias) sum.Add(data.sample_bias[sample * s.out_channels + n]);
  Expected result = sum.Result(data.taps * s.channels + 2);
  if (c.residual) result.value += ToFloat(data.residual[row * data.y_stride + n]);
  return Stored<T>(result, c.float_output);
}

template <class T, class Y>
Comparison CompareAll(const ConvCase& c, int rows) {
  const Data<T> data(c);
  return CompareRows(RunOnCard<T, Y>(c, data, 0, data.shape.batch),
                     data.shape.batch * data.sample_rows, data.shape.out_channels, data.y_stride,
                     rows, [&](int row, int n) { return ResultOf(c, data, row, n); });
}

}  // namespace

template <class T>
Comparison RunConvCase(const ConvCase& c, int rows) {
  return c.float_output ? CompareAll<T, float>(c, rows) : CompareAll<T, T>(c, rows);
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

template <class T>
bool SameBitsAsNormedFirst(const ConvCase& c, int groups) {
  Data<T> data(c);
  const ConvShape& s = data.shape;
  const DeviceBuffer<T> x(data.x), y(static_cast<int64_t>(data.x.size()));
  const DeviceBuffer<float> scale(RandomNumbers<float>(s.channels, 7, 2)),
      shift(RandomNumbers<float>(s.channels, 8)), affine(int64_t{2} * s.batch * s.channels);
  GroupNormArguments<T> norm = {.shape = {.batch = s.batch,
                                          .positions = s.height * s.width,
                                          .channels = s.channels,
                                          .groups = groups},
                                .x = x.get(),
                                .x_stride = data.x_stride,
                                .scale = scale.get(),
                                .shift = shift.get(),
                                .silu = c.silu,
                                .affine = affine.get(),
                                .y = y.get(),
                                .y_stride = data.x_stride};
  const DeviceBuffer<float> moments(GroupNormMomentFloats(norm.shape));
  const DeviceBuffer<uint32_t> arrivals(std::vector<uint32_t>(s.batch, 0));
  norm.moments = moments.get();
  norm.arrivals = arrivals.get();
  TS_CHECK(cudaMemset(y.get(), 0, y.count() * sizeof(T)) == cudaSuccess);
  TS_CHECK(GroupNorm<T>(nullptr, norm) == cudaSuccess);
  data.affine = affine.Read();
  const uint64_t bits = HashOf(RunOnCard<T, T>(c, data, 0, s.batch));
  data.x = y.Read();
  ConvCase plain = c;
  plain.prologue = false;
  return HashOf(RunOnCard<T, T>(plain, data, 0, s.batch)) == bits;
}

template bool SameBitsAsNormedFirst<Bf16>(const ConvCase&, int);
template bool SameBitsAsNormedFirst<Fp16>(const ConvCase&, int);
template Comparison RunConvCase<Bf16>(const ConvCase&, int);
template Comparison RunConvCase<Fp16>(const ConvCase&, int);
template uint64_t BitsOf<Bf16>(const ConvCase&);
template uint64_t BitsOf<Fp16>(const ConvCase&);
template bool SameBitsForEachSample<Bf16>(const ConvCase&);
template bool SameBitsForEachSample<Fp16>(const ConvCase&);

}  // namespace tiltshift::kernels::testing
