// Operations that move or map elements one by one, a block of rows a time.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "engine/cpu/bordered.h"
#include "engine/cpu/parallel.h"
#include "engine/cpu/step.h"

namespace tiltshift::engine::cpu {

simd::Function ToSimd(Nonlinearity nonlinearity) {
  switch (nonlinearity) {
    case Nonlinearity::kSilu: return simd::Function::kSilu;
    case Nonlinearity::kGelu: return simd::Function::kGelu;
    case Nonlinearity::kQuickGelu: return simd::Function::kQuickGelu;
    case Nonlinearity::kRelu: return simd::Function::kRelu;
    case Nonlinearity::kSoftClamp: return simd::Function::kSoftClamp;
    case Nonlinearity::kNone: break;
  }
  return simd::Function::kNone;
}

namespace {

// A step whose rows of output are independent: Rows(first, count) makes some of them.
class RowsStep : public Step {
 public:
  RowsStep(const Setting& setting, int64_t rows, const Value& x, const Value& y)
      : kernels_(setting.kernels), threads_(setting.threads), rows_(rows), x_value_(x), y_value_(y) {}

  void Bind(const Binder& binder) override {
    x_ = binder.Of(x_value_);
    y_ = binder.Of(y_value_);
  }
  void Run(const dnnl::stream&) override {
    constexpr int64_t kBlock = 16;
    ParallelFor((rows_ + kBlock - 1) / kBlock, threads_, [&](int64_t block, int) {
      Rows(block * kBlock, std::min(kBlock, rows_ - block * kBlock));
    });
  }

 protected:
  virtual void Rows(int64_t first, int64_t count) = 0;

  const simd::Kernels& kernels_;
  int threads_;
  int64_t rows_;
  Value x_value_, y_value_;
  Place x_, y_;
};

class GegluStep : public RowsStep {
 public:
  GegluStep(const Setting& setting, const GegluOp& op)
      : RowsStep(setting, op.y.shape.rows(), op.x, op.y), bytes_(setting.bytes(op.x)) {}
  void Rows(int64_t first, int64_t count) override {
    const int64_t channels = y_value_.shape.channels;
    kernels_.geglu(x_.get() + first * 2 * channels * bytes_, {count, channels, channels},
                   y_.get() + first * channels * bytes_);
  }

 private:
  size_t bytes_;
};

class MapStep : public RowsStep {
 public:
  MapStep(const Setting& setting, const MapOp& op)
      : RowsStep(setting, op.y.shape.rows(), op.x, op.y),
        function_(ToSimd(op.nonlinearity)),
        x_bytes_(setting.bytes(op.x)),
        y_bytes_(setting.bytes(op.y)),
        from_(setting.graph.element(op.x)),
        to_(setting.graph.element(op.y)) {
    TS_CHECK(from_ == to_ || op.nonlinearity == Nonlinearity::kNone);
    TS_CHECK(from_ != Element::kFloat || to_ != Element::kFloat);
  }
  void Rows(int64_t first, int64_t count) override {
    const int64_t at = first * y_value_.shape.channels;
    const int64_t elements = count * y_value_.shape.channels;
    const char* x = x_.get() + at * x_bytes_;
    char* y = y_.get() + at * y_bytes_;
    if (from_ == to_) {
      kernels_.map(x, elements, function_, y);
    } else if (from_ == Element::kFloat) {
      kernels_.from_float(reinterpret_cast<const float*>(x), elements, y);
    } else {
      kernels_.to_float(x, elements, reinterpret_cast<float*>(y));
    }
  }

 private:
  simd::Function function_;
  size_t x_bytes_, y_bytes_;
  Element from_, to_;
};

class ConcatStep : public RowsStep {
 public:
  ConcatStep(const Setting& setting, const ConcatOp& op)
      : RowsStep(setting, op.y.shape.rows(), op.a, op.y),
        b_value_(op.b),
        a_bytes_(op.a.shape.channels * setting.bytes(op.a)),
        b_bytes_(op.b.shape.channels * setting.bytes(op.b)) {}
  void Bind(const Binder& binder) override {
    RowsStep::Bind(binder);
    b_ = binder.Of(b_value_);
  }
  void Rows(int64_t first, int64_t count) override {
    const char* a = x_.get() + first * a_bytes_;
    const char* b = b_.get() + first * b_bytes_;
    char* y = y_.get() + first * (a_bytes_ + b_bytes_);
    for (int64_t r = 0; r < count; ++r, a += a_bytes_, b += b_bytes_, y += a_bytes_ + b_bytes_) {
      std::memcpy(y, a, a_bytes_);
      std::memcpy(y + a_bytes_, b, b_bytes_);
    }
  }

 private:
  Value b_value_;
  size_t a_bytes_, b_bytes_;
  Place b_;
};

class UpsampleStep : public RowsStep {
 public:
  UpsampleStep(const Setting& setting, const UpsampleOp& op)
      : RowsStep(setting, op.x.shape.height, op.x, op.y),
        cell_(op.x.shape.channels * setting.bytes(op.x)),
        border_(op.y.shape),
        has_border_(WantsBorder(setting, op.y)) {}

  size_t output_bytes() const override { return has_border_ ? border_.elements() * sizeof(uint16_t) : 0; }
  void Run(const dnnl::stream& stream) override {
    if (has_border_) border_.ClearEnds(reinterpret_cast<uint16_t*>(y_.get()));
    RowsStep::Run(stream);
  }
  void Rows(int64_t first, int64_t count) override {
    for (int64_t h = first; h < first + count; ++h) {
      const char* x = x_.get() + h * x_value_.shape.width * cell_;
      has_border_ ? LinesWithBorder(x, 2 * h) : Lines(x, 2 * h);
    }
  }

 private:
  // Line h of y, and the next where there is one.
  void Lines(const char* x, int64_t h) const {
    const int64_t width = y_value_.shape.width;
    char* y = y_.get() + h * width * cell_;
    for (int64_t w = 0; w < width; ++w) std::memcpy(y + w * cell_, x + w / 2 * cell_, cell_);
    if (h + 1 < y_value_.shape.height) std::memcpy(y + width * cell_, y, width * cell_);
  }
  void LinesWithBorder(const char* x, int64_t h) const {
    constexpr size_t kBytes = Bordered::kPixel * sizeof(uint16_t);
    auto* all = reinterpret_cast<uint16_t*>(y_.get());
    const int64_t lines = std::min<int64_t>(2, y_value_.shape.height - h);
    for (int64_t line = h; line < h + lines; ++line) {
      border_.ClearSides(all, line);
      for (int64_t p = 0; p < border_.planes; ++p) {
        uint16_t* y = border_.Line(all, line) + p * border_.plane;
        for (int64_t w = 0; w < y_value_.shape.width; ++w, y += Bordered::kPixel) {
          std::memcpy(y, x + w / 2 * cell_ + p * kBytes, kBytes);
        }
      }
    }
  }

  size_t cell_;
  Bordered border_;
  bool has_border_;
};

// [c, h, w] floats and [h, w, c] elements, a row of floats at a time. Latents are small: a few thousand elements.
class PlanarStep : public Step {
 public:
  PlanarStep(const Setting& setting, const Value& x, const Value& y, float scale, float shift)
      : kernels_(setting.kernels),
        x_value_(x),
        y_value_(y),
        scale_(scale),
        shift_(shift),
        from_planar_(setting.graph.tensors()[x.tensor].written),
        element_(setting.graph.element(from_planar_ ? y : x)) {}

  size_t scratch_bytes() const override { return x_value_.shape.size() * sizeof(float); }
  void Bind(const Binder& binder) override {
    x_ = binder.Of(x_value_);
    y_ = binder.Of(y_value_);
    scratch_ = reinterpret_cast<float*>(binder.Scratch());
  }
  void Run(const dnnl::stream&) override {
    const int64_t rows = x_value_.shape.rows();
    const int64_t channels = x_value_.shape.channels;
    if (from_planar_) {
      const auto* x = reinterpret_cast<const float*>(x_.get());
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < channels; ++c) scratch_[r * channels + c] = x[c * rows + r] * scale_ + shift_;
      }
      kernels_.from_float(scratch_, rows * channels, y_.get());
      return;
    }
    const auto* x = reinterpret_cast<const float*>(x_.get());
    if (element_ == Element::kActivation) {
      kernels_.to_float(x_.get(), rows * channels, scratch_);
      x = scratch_;
    }
    auto* y = reinterpret_cast<float*>(y_.get());
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < channels; ++c) y[c * rows + r] = x[r * channels + c];
    }
  }

 private:
  const simd::Kernels& kernels_;
  Value x_value_, y_value_;
  float scale_, shift_;
  bool from_planar_;
  Element element_;
  Place x_, y_;
  float* scratch_ = nullptr;
};

}  // namespace

std::unique_ptr<Step> MakeGeglu(const Setting& setting, const GegluOp& op) {
  return std::make_unique<GegluStep>(setting, op);
}
std::unique_ptr<Step> MakeMap(const Setting& setting, const MapOp& op) {
  return std::make_unique<MapStep>(setting, op);
}
std::unique_ptr<Step> MakeConcat(const Setting& setting, const ConcatOp& op) {
  return std::make_unique<ConcatStep>(setting, op);
}
std::unique_ptr<Step> MakeUpsample(const Setting& setting, const UpsampleOp& op) {
  return std::make_unique<UpsampleStep>(setting, op);
}
std::unique_ptr<Step> MakeFromPlanar(const Setting& setting, const FromPlanarOp& op) {
  return std::make_unique<PlanarStep>(setting, op.x, op.y, op.scale, op.shift);
}
std::unique_ptr<Step> MakeToPlanar(const Setting& setting, const ToPlanarOp& op) {
  return std::make_unique<PlanarStep>(setting, op.x, op.y, 1.0f, 0.0f);
}

}  // namespace tiltshift::engine::cpu
