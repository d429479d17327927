#include "engine/testing/reference.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace tiltshift::engine::testing {
namespace {

using Row = std::vector<double>;

Row Floats(const Parameter* parameter, int64_t count) {
  if (parameter == nullptr) return Row(count, 0.0);
  std::vector<float> floats(parameter->elements());
  parameter->CopyTo(floats);
  return {floats.begin(), floats.end()};
}

double Apply(Nonlinearity f, double x) {
  switch (f) {
    case Nonlinearity::kNone: return x;
    case Nonlinearity::kSilu: return x / (1 + std::exp(-x));
    case Nonlinearity::kGelu: return x / 2 * std::erfc(-x / std::sqrt(2.0));
    case Nonlinearity::kQuickGelu: return x / (1 + std::exp(-1.702 * x));
    case Nonlinearity::kRelu: return std::max(x, 0.0);
    case Nonlinearity::kSoftClamp: return 3 * std::tanh(x / 3);
  }
  return x;
}

class Evaluation {
 public:
  explicit Evaluation(std::map<int, Row> tensors) : tensors_(std::move(tensors)) {}

  const Row& At(const Value& value) const {
    TS_CHECK(value.channel == 0);
    return tensors_.at(value.tensor);
  }
  void Add(const Op& op) {
    Row& y = tensors_[OutputOf(op).tensor];
    y.resize(OutputOf(op).shape.size());
    std::visit([&](const auto& o) { Compute(o, y); }, op);
  }

 private:
  void Compute(const ConvOp& op, Row& y) const {
    const Shape &in = op.x.shape, &out = op.y.shape;
    const Row& x = At(op.x);
    const Row filter = Floats(op.filter, 0);
    const Row bias = op.row_bias ? At(*op.row_bias) : Floats(op.bias, out.channels);
    const int kernel = static_cast<int>(op.filter->shape[2]), before = op.pad_end ? 0 : kernel / 2;
    for (int64_t i = 0; i < out.size(); ++i) {
      const int64_t o = i % out.channels, w = i / out.channels % out.width, h = i / out.channels / out.width;
      double sum = bias[o] + (op.residual ? At(*op.residual)[i] : 0);
      for (int place = 0; place < kernel * kernel; ++place) {
        const int64_t from_h = h * op.stride - before + place / kernel, from_w = w * op.stride - before + place % kernel;
        if (from_h < 0 || from_h >= in.height || from_w < 0 || from_w >= in.width) continue;
        const double* pixel = &x[(from_h * in.width + from_w) * in.channels];
        for (int64_t c = 0; c < in.channels; ++c) {
          sum += pixel[c] * filter[(o * in.channels + c) * kernel * kernel + place];
        }
      }
      y[i] = sum;
    }
  }

  void Compute(const LinearOp& op, Row& y) const {
    const int64_t in = op.x.shape.channels, out = op.y.shape.channels;
    const Row matrix = Floats(op.matrix, 0), bias = Floats(op.bias, out);
    const Row& x = At(op.x);
    for (int64_t i = 0; i < op.y.shape.size(); ++i) {
      double sum = bias[i % out];
      for (int64_t c = 0; c < in; ++c) sum += x[i / out * in + c] * matrix[i % out * in + c];
      y[i] = Apply(op.nonlinearity, sum) + (op.residual ? At(*op.residual)[i] : 0);
    }
  }

  // y = (x - mean) / deviation * scale + shift of `size` elements, of which element i of row r lies at r * stride + i.
  static void Normalize(const Row& x, int64_t first, int64_t rows, int64_t size, int64_t stride, double eps, Row& y) {
    double sum = 0, square = 0;
    const double count = static_cast<double>(rows * size);
    for (int64_t i = 0; i < rows * size; ++i) sum += x[first + i / size * stride + i % size];
    for (int64_t i = 0; i < rows * size; ++i) {
      const double deviation = x[first + i / size * stride + i % size] - sum / count;
      square += deviation * deviation;
    }
    for (int64_t i = 0; i < rows * size; ++i) {
      const int64_t at = first + i / size * stride + i % size;
      y[at] = (x[at] - sum / count) / std::sqrt(square / count + eps);
    }
  }
  template <class NormOp>
  static void ScaleShift(const NormOp& op, Nonlinearity f, Row& y) {
    const int64_t channels = op.y.shape.channels;
    const Row scale = Floats(op.scale, channels), shift = Floats(op.shift, channels);
    for (int64_t i = 0; i < op.y.shape.size(); ++i) y[i] = Apply(f, y[i] * scale[i % channels] + shift[i % channels]);
  }
  void Compute(const GroupNormOp& op, Row& y) const {
    const int64_t channels = op.x.shape.channels, size = channels / op.groups;
    for (int64_t group = 0; group < op.groups; ++group) {
      Normalize(At(op.x), group * size, op.x.shape.rows(), size, channels, op.eps, y);
    }
    ScaleShift(op, op.nonlinearity, y);
  }
  void Compute(const LayerNormOp& op, Row& y) const {
    const int64_t channels = op.x.shape.channels;
    for (int64_t row = 0; row < op.x.shape.rows(); ++row) {
      Normalize(At(op.x), row * channels, 1, channels, channels, op.eps, y);
    }
    ScaleShift(op, Nonlinearity::kNone, y);
  }

  void Compute(const AttentionOp& op, Row& y) const {
    const int64_t channels = op.q.shape.channels, d = channels / op.heads, keys = op.k.shape.rows();
    const Row &q = At(op.q), &k = At(op.k), &v = At(op.v);
    for (int64_t i = 0; i < op.q.shape.rows() * op.heads; ++i) {
      const int64_t at = i / op.heads * channels + i % op.heads * d, head = i % op.heads * d;
      const int64_t seen = op.causal ? i / op.heads + 1 : keys;
      Row weights(seen);
      for (int64_t s = 0; s < seen; ++s) {
        for (int64_t c = 0; c < d; ++c) weights[s] += q[at + c] * k[s * channels + head + c];
        weights[s] /= std::sqrt(static_cast<double>(d));
      }
      const double top = *std::max_element(weights.begin(), weights.end());
      double total = 0;
      for (double& weight : weights) total += weight = std::exp(weight - top);
      for (int64_t c = 0; c < d; ++c) {
        y[at + c] = 0;
        for (int64_t s = 0; s < seen; ++s) y[at + c] += weights[s] / total * v[s * channels + head + c];
      }
    }
  }

  void Compute(const GegluOp& op, Row& y) const {
    const int64_t half = op.y.shape.channels;
    const Row& x = At(op.x);
    for (int64_t i = 0; i < op.y.shape.size(); ++i) {
      const int64_t at = i / half * 2 * half + i % half;
      y[i] = x[at] * Apply(Nonlinearity::kGelu, x[at + half]);
    }
  }
  void Compute(const MapOp& op, Row& y) const {
    for (size_t i = 0; i < y.size(); ++i) y[i] = Apply(op.nonlinearity, At(op.x)[i]);
  }
  void Compute(const UpsampleOp& op, Row& y) const {
    const int64_t channels = op.x.shape.channels;
    for (int64_t i = 0; i < op.y.shape.size(); ++i) {
      const int64_t c = i % channels, w = i / channels % op.y.shape.width, h = i / channels / op.y.shape.width;
      y[i] = At(op.x)[(h / 2 * op.x.shape.width + w / 2) * channels + c];
    }
  }
  void Compute(const FromPlanarOp& op, Row& y) const {
    const int64_t rows = op.x.shape.rows(), channels = op.x.shape.channels;
    for (int64_t i = 0; i < op.y.shape.size(); ++i) {
      y[i] = At(op.x)[i % channels * rows + i / channels] * op.scale + op.shift;
    }
  }
  void Compute(const ToPlanarOp& op, Row& y) const {
    const int64_t rows = op.x.shape.rows(), channels = op.x.shape.channels;
    for (int64_t i = 0; i < op.y.shape.size(); ++i) y[i % channels * rows + i / channels] = At(op.x)[i];
  }
  void Compute(const MomentsOp&, Row&) const { TS_CHECK(false); }
  void Compute(const ConcatOp&, Row&) const { TS_CHECK(false); }

  std::map<int, Row> tensors_;
};

}  // namespace

std::vector<double> Evaluate(const Graph& graph, std::map<int, std::vector<double>> tensors, const Value& output) {
  Evaluation evaluation(std::move(tensors));
  for (const Node& node : graph.nodes()) evaluation.Add(node.op);
  return evaluation.At(output);
}

}  // namespace tiltshift::engine::testing
