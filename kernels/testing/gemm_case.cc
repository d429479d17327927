#include "kernels/testing/gemm_case.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "kernels/testing/device_buffer.h"
#include "kernels/testing/product_case.h"

namespace tiltshift::kernels::testing {
namespace {

double Silu(double x) { return x / (1 + std::exp(-x)); }
double Gelu(double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }

// The activation, and the largest slope it has: what an error before it can become behind it. The
// silu of x has slopes up to 1.0999, gelu 1.1290, quick gelu as silu, the others 1.
double Activate(Activation activation, double x) {
  switch (activation) {
    case Activation::kSilu:
      return Silu(x);
    case Activation::kGelu:
      return Gelu(x);
    case Activation::kQuickGelu:
      return x / (1 + std::exp(-1.702 * x));
    case Activation::kRelu:
      return std::max(x, 0.0);
    case Activation::kSoftClamp:
      return 3 * std::tanh(x / 3);
    default:
      return x;
  }
}
constexpr double kSteepest = 1.13;
// Exp2, Reciprocal and Erf are good to a few ulp of what they give.
constexpr double kFunctionError = 8 * 0x1p-24;

// A case's numbers, on the host and on the card.
template <class T>
struct Data {
  explicit Data(const GemmCase& c)
      : shape(c.shape),
        columns(c.activation == Activation::kGeglu ? c.shape.n / 2 : c.shape.n),
        x_stride(c.shape.k + c.extra_stride),
        y_stride(columns + c.extra_stride),
        rows_per_sample(c.samples == 0 ? 1 : (c.shape.m + c.samples - 1) / c.samples),
        x(RandomNumbers<T>(int64_t{shape.m} * x_stride, 1)),
        w(RandomNumbers<T>(int64_t{shape.n} * shape.k, 2,
                           2.0f / std::sqrt(static_cast<float>(shape.k)))),
        bias(RandomNumbers<float>(shape.n, 3)),
        sample_bias(RandomNumbers<float>(int64_t{std::max(1, c.samples)} * shape.n, 4)),
        residual(RandomNumbers<T>(int64_t{shape.m} * y_stride, 5)) {}

  GemmShape shape;
  int columns;
  int64_t x_stride, y_stride;
  int rows_per_sample;
  std::vector<T> x, w;
  std::vector<float> bias, sample_bias;
  std::vector<T> residual;
};

template <class T, class Y>
std::vector<Y> RunOnCard(const GemmCase& c, const Data<T>& data, int first, int m) {
  const DeviceBuffer<T> x(data.x), w(data.w), residual(data.residual);
  const DeviceBuffer<float> bias(data.bias), sample_bias(data.sample_bias);
  const DeviceBuffer<float> partials(c.splits > 1 ? c.splits * int64_t{m} * data.shape.n : 1);
  const DeviceBuffer<Y> y(int64_t{m} * data.y_stride);
  GemmArguments<T> arguments = {
      .shape = {m, data.shape.n, data.shape.k},
      .x = x.get() + first * data.x_stride,
      .x_stride = data.x_stride,
      .w = w.get(),
      .y = y.get(),
      .y_stride = data.y_stride,
      .tile = c.tile,
      .split = {c.splits, partials.get()},
      .epilogue = {.bias = c.bias ? bias.get() : nullptr,
                   .sample_bias = c.samples > 0 ? sample_bias.get() : nullptr,
                   .rows_per_sample = data.rows_per_sample,
                   .residual = c.residual ? residual.get() + first * data.y_stride : nullptr,
                   .residual_stride = data.y_stride,
                   .residual_first = c.residual_first,
                   .activation = c.activation,
                   .float_output = c.float_output},
  };
  TS_CHECK(cudaMemset(y.get(), 0, y.count() * sizeof(Y)) == cudaSuccess);
  TS_CHECK(Gemm<T>(nullptr, arguments) == cudaSuccess);
  return y.Read();
}

// A column's sum before the activation, and its bound.
template <class T>
Expected SumOf(const GemmCase& c, const Data<T>& data, int row, int column) {
  Sum sum;
  for (int i = 0; i < data.shape.k; ++i) {
    sum.Add(static_cast<double>(ToFloat(data.x[row * data.x_stride + i])) *
            ToFloat(data.w[int64_t{column} * data.shape.k + i]));
  }
  if (c.bias) sum.Add(data.bias[column]);
  if (c.samples > 0) {
    sum.Add(data.sample_bias[int64_t{row / data.rows_per_sample} * data.shape.n + column]);
  }
  return sum.Result(data.shape.k + 2);
}

template <class T>
Expected ResultOf(const GemmCase& c, const Data<T>& data, int row, int column) {
  const double residual = c.residual ? ToFloat(data.residual[row * data.y_stride + column]) : 0.0;
  Expected result;
  if (c.activation == Activation::kGeglu) {
    const Expected value = SumOf(c, data, row, 2 * column);
    const Expected gate = SumOf(c, data, row, 2 * column + 1);
    result.value = value.value * Gelu(gate.value);
    result.bound =
        value.bound * std::fabs(Gelu(gate.value)) +
        std::fabs(value.value) * (kSteepest * gate.bound + kFunctionError * std::fabs(gate.value));
  } else {
    Expected sum = SumOf(c, data, row, column);
    if (c.residual_first) {
      sum.value += residual;
      sum.bound += 0x1p-24 * (std::fabs(sum.value) + sum.bound);
    }
    result.value = Activate(c.activation, sum.value);
    result.bound = kSteepest * sum.bound;
    if (c.activation != Activation::kNone) result.bound += kFunctionError * std::fabs(sum.value);
  }
  if (!c.residual_first) result.value += residual;
  return Stored<T>(result, c.float_output);
}

template <class T, class Y>
Comparison CompareAll(const GemmCase& c, int rows) {
  const Data<T> data(c);
  return CompareRows(RunOnCard<T, Y>(c, data, 0, c.shape.m), c.shape.m, data.columns, data.y_stride,
                     rows, [&](int row, int column) { return ResultOf(c, data, row, column); });
}

}  // namespace

template <class T>
Comparison RunGemmCase(const GemmCase& c, int rows) {
  return c.float_output ? CompareAll<T, float>(c, rows) : CompareAll<T, T>(c, rows);
}

template <class T>
bool SameBitsAlone(const GemmCase& c, int first, int m) {
  const Data<T> data(c);
  const std::vector<T> whole = RunOnCard<T, T>(c, data, 0, c.shape.m);
  const std::vector<T> part = RunOnCard<T, T>(c, data, first, m);
  return std::memcmp(part.data(), whole.data() + first * data.y_stride, part.size() * sizeof(T)) ==
         0;
}

template <class T>
uint64_t BitsOf(const GemmCase& c) {
  return HashOf(RunOnCard<T, T>(c, Data<T>(c), 0, c.shape.m));
}

template Comparison RunGemmCase<Bf16>(const GemmCase&, int);
template Comparison RunGemmCase<Fp16>(const GemmCase&, int);
template uint64_t BitsOf<Bf16>(const GemmCase&);
template uint64_t BitsOf<Fp16>(const GemmCase&);
template bool SameBitsAlone<Bf16>(const GemmCase&, int, int);
template bool SameBitsAlone<Fp16>(const GemmCase&, int, int);

}  // namespace tiltshift::kernels::testing
