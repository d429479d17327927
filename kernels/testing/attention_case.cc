#include "kernels/testing/attention_case.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "kernels/testing/device_buffer.h"

namespace tiltshift::kernels::testing {
namespace {

// A case's numbers, on the host. Packed, q's buffer holds all three.
template <class T>
struct Data {
  explicit Data(const AttentionCase& c)
      : shape(c.shape), width(shape.heads * shape.head_dim), y_stride(width + 16) {
    const int64_t q_rows = int64_t{shape.batch} * shape.queries;
    const int64_t k_rows = int64_t{shape.batch} * shape.keys;
    // Of uniform numbers in -a..a the score's deviation is a^2 sqrt(d) / 3.
    const float a = std::sqrt(3.0f * c.sharpness);
    if (c.packed) {
      TS_CHECK(shape.queries == shape.keys);
      q = RandomNumbers<T>(q_rows * 3 * width, 1, a);
    } else {
      q = RandomNumbers<T>(q_rows * (width + 16), 1, a);
      k = RandomNumbers<T>(k_rows * width, 2, a);
      v = RandomNumbers<T>(k_rows * (width + 16), 3);
      q_stride = width + 16, k_stride = width, v_stride = width + 16;
    }
    if (c.packed) q_stride = k_stride = v_stride = 3 * width;
    if (c.rising) Rise();
  }

  // Keys grow from nothing to twice their size, and every first number of a head, in q and k, is
  // large and positive.
  void Rise() {
    TS_CHECK(!k.empty());
    for (size_t i = 0; i < k.size(); ++i) {
      const int64_t key = static_cast<int64_t>(i) / k_stride % shape.keys;
      const float size = 2.0f * static_cast<float>(key) / static_cast<float>(shape.keys);
      k[i] = FromFloat<T>(i % shape.head_dim == 0 ? 8 * size : ToFloat(k[i]) * size);
    }
    for (size_t i = 0; i < q.size(); ++i) {
      if (static_cast<int64_t>(i) % q_stride % shape.head_dim == 0) q[i] = FromFloat<T>(16);
    }
  }

  int64_t KeyRow(const AttentionCase& c, int sample) const {
    return int64_t{c.offsets ? shape.batch - 1 - sample : sample} * shape.keys;
  }
  double Q(int sample, int query, int channel) const {
    return ToFloat(q[(int64_t{sample} * shape.queries + query) * q_stride + channel]);
  }
  double K(int64_t row, int channel) const {
    return ToFloat(k.empty() ? q[row * k_stride + width + channel] : k[row * k_stride + channel]);
  }
  double V(int64_t row, int channel) const {
    return ToFloat(v.empty() ? q[row * v_stride + 2 * width + channel]
                             : v[row * v_stride + channel]);
  }

  AttentionShape shape;
  int width;
  int64_t q_stride = 0, k_stride = 0, v_stride = 0, y_stride;
  std::vector<T> q, k, v;
  float scale = 1 / std::sqrt(static_cast<float>(shape.head_dim));
};

// Samples [first, first + batch).
template <class T>
std::vector<T> RunOnCard(const AttentionCase& c, const Data<T>& data, int first, int batch) {
  const DeviceBuffer<T> q(data.q), k(data.k), v(data.v);
  const DeviceBuffer<T> y(int64_t{batch} * data.shape.queries * data.y_stride);
  std::vector<int64_t> offsets;
  for (int i = 0; i < batch; ++i) offsets.push_back(data.KeyRow(c, first + i) * data.k_stride);
  const DeviceBuffer<int64_t> key_offsets(offsets);
  AttentionArguments<T> arguments = {
      .shape = data.shape,
      .q = q.get() + int64_t{first} * data.shape.queries * data.q_stride,
      .q_stride = data.q_stride,
      .k = c.packed ? q.get() + data.width : k.get(),
      .k_stride = data.k_stride,
      .v = c.packed ? q.get() + 2 * data.width : v.get(),
      .v_stride = data.v_stride,
      .y = y.get(),
      .y_stride = data.y_stride,
      .scale = data.scale,
  };
  arguments.shape.batch = batch;
  if (c.offsets) {
    TS_CHECK(c.packed);  // one offset for k and v
    arguments.key_offsets = key_offsets.get();
  } else {
    arguments.k = arguments.k + int64_t{first} * data.shape.keys * data.k_stride;
    arguments.v = arguments.v + int64_t{first} * data.shape.keys * data.v_stride;
  }
  TS_CHECK(cudaMemset(y.get(), 0, y.count() * sizeof(T)) == cudaSuccess);
  TS_CHECK(Attention<T>(nullptr, arguments) == cudaSuccess);
  return y.Read();
}

// One head of one query row, and the bounds of its numbers.
//
// A score is an fp32 sum of d exact products: d 2^-24 of their magnitudes off. The exponent 2^x of
// |x| up to 2^9 or so adds the rounding of x itself (twice: the product, the difference) and a few
// ulp of the function; together a relative error `weight_error` of a weight. A weight is then
// rounded to T (not so in the sum below the line), and fp16 holds nothing below 2^-25 of the row's
// top, which is at least the largest weight's 2^-8.
template <class T>
void HeadOfRow(const AttentionCase& c, const Data<T>& data, int sample, int query, int head,
               std::vector<Expected>* expected) {
  const AttentionShape& s = data.shape;
  const int first = head * s.head_dim;
  const int keys = s.causal ? std::min(s.keys, query + 1) : s.keys;
  const int64_t key_row = data.KeyRow(c, sample);
  std::vector<double> score(keys), score_error(keys);
  for (int j = 0; j < keys; ++j) {
    double sum = 0, magnitude = 0;
    for (int i = 0; i < s.head_dim; ++i) {
      const double product = data.Q(sample, query, first + i) * data.K(key_row + j, first + i);
      sum += product;
      magnitude += std::fabs(product);
    }
    score[j] = data.scale * sum;
    score_error[j] = data.scale * s.head_dim * 0x1p-24 * magnitude;
  }
  const double top = *std::max_element(score.begin(), score.end());
  double below = 0, below_error = 0;
  std::vector<double> value(s.head_dim), magnitude(s.head_dim), error(s.head_dim);
  constexpr double kTiny = sizeof(T) == 2 && Rounding<T>() == Rounding<Fp16>() ? 0x1p-25 : 0;
  for (int j = 0; j < keys; ++j) {
    const double weight = std::exp(score[j] - top);
    const double weight_error =
        score_error[j] + 4 * 0x1p-24 * (std::fabs(score[j]) + std::fabs(top) + 8) + 8 * 0x1p-24;
    below += weight;
    below_error += weight * weight_error;
    for (int i = 0; i < s.head_dim; ++i) {
      const double v = data.V(key_row + j, first + i);
      value[i] += weight * v;
      magnitude[i] += weight * std::fabs(v);
      error[i] += (weight * (weight_error + Rounding<T>()) + kTiny) * std::fabs(v);
    }
  }
  // fp32 sums of as many terms, and the rescalings between blocks.
  const double adding = (keys + keys / 32.0 + 4) * 0x1p-24;
  for (int i = 0; i < s.head_dim; ++i) {
    const double y = value[i] / below;
    double bound =
        (error[i] + adding * magnitude[i]) / below + std::fabs(y) * (below_error / below + adding);
    bound += Rounding<T>() * (std::fabs(y) + bound) + 0x1p-25;
    expected->push_back({y, bound});
  }
}

}  // namespace

template <class T>
Comparison RunAttentionCase(const AttentionCase& c, int rows) {
  const Data<T> data(c);
  const std::vector<T> y = RunOnCard<T>(c, data, 0, data.shape.batch);
  std::vector<Expected> expected;
  std::vector<T> results;
  const int all = data.shape.batch * data.shape.queries;
  const int checked = std::min(rows, all);
  for (int i = 0; i < checked; ++i) {
    // The last row of all is always one of them.
    const int row = all - 1 - static_cast<int>(int64_t{i} * all / checked);
    for (int head = 0; head < data.shape.heads; ++head) {
      HeadOfRow(c, data, row / data.shape.queries, row % data.shape.queries, head, &expected);
    }
    for (int64_t n = data.width; n < data.y_stride; ++n) expected.push_back({0, 1e-300});
    for (int64_t n = 0; n < data.y_stride; ++n) results.push_back(y[row * data.y_stride + n]);
  }
  return Compare(results, expected);
}

template <class T>
bool SameBitsForEachSample(const AttentionCase& c) {
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

template Comparison RunAttentionCase<Bf16>(const AttentionCase&, int);
template Comparison RunAttentionCase<Fp16>(const AttentionCase&, int);
template bool SameBitsForEachSample<Bf16>(const AttentionCase&);
template bool SameBitsForEachSample<Fp16>(const AttentionCase&);

}  // namespace tiltshift::kernels::testing
