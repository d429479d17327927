#include "kernels/testing/norm_case.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "kernels/testing/device_buffer.h"

namespace tiltshift::kernels::testing {
namespace {

constexpr float kEps = 1e-5f;

// A case's numbers, on the host.
template <class T>
struct Data {
  explicit Data(const NormCase& c)
      : shape(c.shape),
        stride(shape.channels + c.extra_stride),
        x(RandomNumbers<T>(int64_t{shape.batch} * shape.positions * stride, 1)),
        scale(RandomNumbers<float>(shape.channels, 2, 2)),
        shift(RandomNumbers<float>(shape.channels, 3)) {
    // Every channel has a mean of its own beside the common one.
    for (size_t i = 0; i < x.size(); ++i) {
      const int channel = static_cast<int>(i % stride) % 7;
      x[i] = FromFloat<T>(ToFloat(x[i]) + c.mean * (1 + 0.125f * static_cast<float>(channel)));
    }
  }

  GroupNormShape shape;
  int64_t stride;
  std::vector<T> x;
  std::vector<float> scale, shift;
};

// Samples [first, first + batch).
template <class T>
std::vector<T> RunOnCard(const NormCase& c, const Data<T>& data, int first, int batch) {
  const DeviceBuffer<T> x(data.x);
  const DeviceBuffer<float> scale(data.scale), shift(data.shift);
  const DeviceBuffer<T> y(int64_t{batch} * data.shape.positions * data.stride);
  const T* from = x.get() + int64_t{first} * data.shape.positions * data.stride;
  TS_CHECK(cudaMemset(y.get(), 0, y.count() * sizeof(T)) == cudaSuccess);
  if (data.shape.groups == 0) {
    const LayerNormArguments<T> arguments = {.rows = int64_t{batch} * data.shape.positions,
                                             .channels = data.shape.channels,
                                             .x = from,
                                             .x_stride = data.stride,
                                             .scale = scale.get(),
                                             .shift = shift.get(),
                                             .eps = kEps,
                                             .y = y.get(),
                                             .y_stride = data.stride};
    TS_CHECK(LayerNorm<T>(nullptr, arguments) == cudaSuccess);
    return y.Read();
  }
  GroupNormShape shape = data.shape;
  shape.batch = batch;
  const DeviceBuffer<float> moments(GroupNormMomentFloats(shape)),
      affine(int64_t{2} * batch * shape.channels);
  const DeviceBuffer<uint32_t> arrivals(std::vector<uint32_t>(batch, 0));
  const GroupNormArguments<T> arguments = {.shape = shape,
                                           .x = from,
                                           .x_stride = data.stride,
                                           .scale = scale.get(),
                                           .shift = shift.get(),
                                           .eps = kEps,
                                           .silu = c.silu,
                                           .moments = moments.get(),
                                           .arrivals = c.arrivals ? arrivals.get() : nullptr,
                                           .affine = affine.get(),
                                           .y = y.get(),
                                           .y_stride = data.stride};
  TS_CHECK(GroupNorm<T>(nullptr, arguments) == cudaSuccess);
  for (const uint32_t left : arrivals.Read()) TS_CHECK(left == 0);
  return y.Read();
}

// One group of one sample (LayerNorm: one row), and the bounds of its numbers.
//
// A sum's relative error is at most its longest path of additions times 2^-24 of its magnitudes; no
// path here is longer than kPath (8 in a thread's batch, 8 batches, 32 parts a lane, 5 of a warp,
// up to 32 chunks a lane, 5 of a warp). So the mean is off by kPath 2^-24 of the mean magnitude,
// which moves every number alike, and the deviation by a factor of half the variance's relative
// error.
template <class T>
void Norm(const NormCase& c, const Data<T>& data, int64_t first_row, int rows, int first_channel,
          int width, std::vector<Expected>* expected) {
  constexpr double kPath = 96;
  double sum = 0, magnitude = 0, squares = 0;
  const auto x_at = [&](int row, int i) {
    return static_cast<double>(
        ToFloat(data.x[(first_row + row) * data.stride + first_channel + i]));
  };
  for (int row = 0; row < rows; ++row) {
    for (int i = 0; i < width; ++i) {
      sum += x_at(row, i);
      magnitude += std::fabs(x_at(row, i));
    }
  }
  const double count = static_cast<double>(rows) * width, mean = sum / count;
  for (int row = 0; row < rows; ++row) {
    for (int i = 0; i < width; ++i) squares += std::pow(x_at(row, i) - mean, 2);
  }
  const double variance = squares / count, inverse = 1 / std::sqrt(variance + kEps);
  const double mean_error = kPath * 0x1p-24 * magnitude / count;
  const double inverse_error = kPath * 0x1p-24 / 2 + std::pow(mean_error * inverse, 2);
  for (int row = 0; row < rows; ++row) {
    for (int i = 0; i < width; ++i) {
      const double scale = data.scale[first_channel + i], shift = data.shift[first_channel + i];
      const double x = x_at(row, i), normed = (x - mean) * inverse;
      double y = normed * scale + shift;
      double bound = std::fabs(scale) * (mean_error * inverse + std::fabs(normed) * inverse_error +
                                         4 * 0x1p-24 * (std::fabs(x) + std::fabs(mean)) * inverse) +
                     4 * 0x1p-24 * (std::fabs(shift) + std::fabs(y));
      if (c.silu) {
        y = y / (1 + std::exp(-y));
        bound = 1.1 * bound + 8 * 0x1p-24 * std::fabs(y);
      }
      bound += Rounding<T>() * (std::fabs(y) + bound) + 0x1p-24;
      (*expected)[(first_row + row) * data.stride + first_channel + i] = {y, bound};
    }
  }
}

}  // namespace

template <class T>
Comparison RunNormCase(const NormCase& c) {
  const Data<T> data(c);
  const GroupNormShape& s = data.shape;
  const std::vector<T> y = RunOnCard<T>(c, data, 0, s.batch);
  std::vector<Expected> expected(y.size(), {0, 1e-300});
  for (int sample = 0; sample < s.batch; ++sample) {
    const int64_t first = int64_t{sample} * s.positions;
    if (s.groups == 0) {
      for (int i = 0; i < s.positions; ++i) {
        Norm<T>(c, data, first + i, 1, 0, s.channels, &expected);
      }
      continue;
    }
    const int width = s.channels / s.groups;
    for (int group = 0; group < s.groups; ++group) {
      Norm<T>(c, data, first, s.positions, group * width, width, &expected);
    }
  }
  return Compare(y, expected);
}

template <class T>
bool SameBitsForEachSample(const NormCase& c) {
  const Data<T> data(c);
  const std::vector<T> whole = RunOnCard<T>(c, data, 0, data.shape.batch);
  for (int sample = 0; sample < data.shape.batch; ++sample) {
    const std::vector<T> alone = RunOnCard<T>(c, data, sample, 1);
    if (std::memcmp(alone.data(), whole.data() + sample * alone.size(), alone.size() * sizeof(T)) !=
        0) {
      return false;
    }
  }
  return true;
}

template <class T>
uint64_t BitsOf(const NormCase& c) {
  return HashOf(RunOnCard<T>(c, Data<T>(c), 0, c.shape.batch));
}

template uint64_t BitsOf<Bf16>(const NormCase&);
template Comparison RunNormCase<Bf16>(const NormCase&);
template Comparison RunNormCase<Fp16>(const NormCase&);
template bool SameBitsForEachSample<Bf16>(const NormCase&);
template bool SameBitsForEachSample<Fp16>(const NormCase&);

}  // namespace tiltshift::kernels::testing
