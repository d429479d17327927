// Linear layers and convolutions on AMX tiles. The arithmetic is in simd/amx_product.h; here rows
// and weights find their places.
#include <algorithm>

#include "engine/cpu/aligned.h"
#include "engine/cpu/bordered.h"
#include "engine/cpu/isa.h"
#include "engine/cpu/parallel.h"
#include "engine/cpu/simd/amx_product.h"
#include "engine/cpu/step.h"

namespace tiltshift::engine::cpu {
namespace {

bool MayUseAmx(const Setting& setting) {
  return setting.bf16 && HasAmx() && setting.products == Products::kFastest;
}

bool IsActivation(const Setting& setting, const Value& value) {
  return setting.graph.element(value) == Element::kActivation;
}

bool FitsAmx(const Setting& setting, const ConvOp& op) {
  return MayUseAmx(setting) && op.filter->shape[2] == 3 && op.stride == 1 &&
         op.x.shape.channels % simd::kStepDepth == 0 && IsActivation(setting, op.x) &&
         IsActivation(setting, op.y) && (!op.residual || IsActivation(setting, *op.residual));
}

// A product whose panels are shared out among threads.
class AmxProductStep : public Step {
 protected:
  AmxProductStep(const Setting& setting, const Parameter& matrix, const Parameter* bias)
      : threads_(setting.threads), panels_(setting.weights.Panels(matrix)) {
    product_.b = panels_.data();
    product_.columns = matrix.shape[0];
    if (bias != nullptr) product_.bias = setting.weights.Floats(*bias);
  }

  // Once tiles_, steps_ and out_ are filled.
  void SetPlaces() {
    product_.tiles = tiles_.data();
    product_.tile_count = static_cast<int64_t>(tiles_.size());
    product_.steps = steps_.data();
    product_.step_count = static_cast<int64_t>(steps_.size());
    product_.out = out_.data();
  }
  size_t SumBytes() const { return threads_ * Align(simd::AmxSumFloats(product_) * sizeof(float)); }
  void SetSums(char* sums) { sums_ = sums; }

  // Threads share out the rows, or the columns where there are few rows.
  void Multiply() const {
    const int64_t tiles = product_.tile_count, panels = simd::PanelsFor(product_.columns);
    const bool by_rows = tiles >= 4 * threads_;
    const int64_t count = by_rows ? tiles : panels;
    const int64_t share = (count + threads_ - 1) / threads_;
    ParallelFor(threads_, threads_, [&](int64_t i, int) {
      const int64_t first = std::min(count, i * share), last = std::min(count, (i + 1) * share);
      simd::AmxPart part = {0, tiles, 0, panels};
      (by_rows ? part.first_tile : part.first_panel) = first;
      (by_rows ? part.last_tile : part.last_panel) = last;
      part.sums = reinterpret_cast<float*>(sums_ + i * (SumBytes() / threads_));
      simd::AmxMultiply(product_, part);
    });
  }

  int threads_;
  std::span<const uint16_t> panels_;
  std::vector<int32_t> tiles_, steps_, out_;
  simd::AmxProduct product_;

 private:
  char* sums_ = nullptr;
};

const uint16_t* Bf16(const Place& place) { return reinterpret_cast<const uint16_t*>(place.get()); }

class AmxLinearStep : public AmxProductStep {
 public:
  AmxLinearStep(const Setting& setting, const LinearOp& op)
      : AmxProductStep(setting, *op.matrix, op.bias), op_(op) {
    const auto rows = static_cast<int32_t>(op.x.shape.rows());
    product_.a_stride = setting.stride(op.x);
    for (int32_t row = 0; row < rows; row += 16)
      tiles_.push_back(row * static_cast<int32_t>(product_.a_stride));
    for (int32_t k = 0; k < op.x.shape.channels; k += simd::kStepDepth) steps_.push_back(k);
    for (int32_t row = 0; row < rows; ++row) out_.push_back(row);
    product_.last_rows = (rows - 1) % 16 + 1;
    product_.row_bytes = op.x.shape.channels * 2;
    product_.y_stride = op.y.shape.channels;
    if (op.residual) product_.residual_stride = setting.stride(*op.residual);
    SetPlaces();
  }

  size_t scratch_bytes() const override { return SumBytes(); }
  void Bind(const Binder& binder) override {
    x_ = binder.Of(op_.x);
    y_ = binder.Of(op_.y);
    if (op_.residual) residual_ = binder.Of(*op_.residual);
    SetSums(binder.Scratch());
  }

  void Run(const dnnl::stream&) override {
    product_.a = Bf16(x_);
    product_.y = reinterpret_cast<uint16_t*>(y_.get());
    product_.residual = op_.residual ? Bf16(residual_) : nullptr;
    Multiply();
  }

 private:
  LinearOp op_;
  Place x_, y_, residual_;
};

// A 3x3 convolution over a copy of the picture with a border (bordered.h): step k of the sum is 32
// channels at a place of the filter, all places before the next channels, and a tile's rows are 16
// pixels that lie side by side.
class AmxConvStep : public AmxProductStep {
 public:
  AmxConvStep(const Setting& setting, const ConvOp& op)
      : AmxProductStep(setting, *op.filter, op.row_bias ? nullptr : op.bias),
        op_(op),
        x_stride_(setting.stride(op.x)),
        width_(op.x.shape.width),
        height_(op.x.shape.height),
        border_(op.x.shape),
        has_border_(WantsBorder(setting, op.x)) {
    constexpr auto kPixel = static_cast<int32_t>(Bordered::kPixel);
    const int32_t line = width_ + 2;
    if (width_ % 16 == 0) {
      for (int32_t h = 0; h < height_; ++h) {
        for (int32_t w = 0; w < width_; w += 16) tiles_.push_back((h * line + w) * kPixel);
      }
      for (int32_t i = 0; i < height_ * width_; ++i) out_.push_back(i);
    } else {  // tiles run on over the border, whose sums nobody wants
      const int32_t pixels = height_ * line - 2;
      for (int32_t i = 0; i < pixels; i += 16) tiles_.push_back(i * kPixel);
      for (int32_t i = 0; i < static_cast<int32_t>(tiles_.size()) * 16; ++i) {
        out_.push_back(i < pixels && i % line < width_ ? i / line * width_ + i % line : -1);
      }
    }
    for (int64_t plane = 0; plane < border_.planes; ++plane) {
      for (int32_t place = 0; place < 9; ++place) {
        steps_.push_back(static_cast<int32_t>(plane * border_.plane) + (place / 3 * line + place % 3) * kPixel);
      }
    }
    product_.a_stride = kPixel;
    product_.row_bytes = op.x.shape.channels * 2;
    product_.y_stride = op.y.shape.channels;
    if (op.residual) product_.residual_stride = setting.stride(*op.residual);
    SetPlaces();
  }

  size_t scratch_bytes() const override {
    return SumBytes() + (has_border_ ? 0 : border_.elements() * sizeof(uint16_t));
  }

  void Bind(const Binder& binder) override {
    x_ = binder.Of(op_.x);
    y_ = binder.Of(op_.y);
    if (op_.residual) residual_ = binder.Of(*op_.residual);
    if (op_.row_bias) row_bias_ = binder.Of(*op_.row_bias);
    SetSums(binder.Scratch());
    copy_ = reinterpret_cast<uint16_t*>(binder.Scratch() + SumBytes());
  }

  void Run(const dnnl::stream&) override {
    if (!has_border_) CopyWithBorder();
    product_.a = has_border_ ? Bf16(x_) : copy_;
    product_.y = reinterpret_cast<uint16_t*>(y_.get());
    product_.residual = op_.residual ? Bf16(residual_) : nullptr;
    if (op_.row_bias) product_.bias = reinterpret_cast<const float*>(row_bias_.get());
    Multiply();
  }

 private:
  void CopyWithBorder() const {
    const uint16_t* x = Bf16(x_);
    border_.ClearEnds(copy_);
    ParallelFor(height_, threads_, [&](int64_t h, int) {
      border_.ClearSides(copy_, h);
      const uint16_t* from = x + h * width_ * x_stride_;
      uint16_t* to = border_.Line(copy_, h);
      for (int64_t w = 0; w < width_; ++w, from += x_stride_, to += Bordered::kPixel) {
        for (int64_t p = 0; p < border_.planes; ++p) {
          std::copy_n(from + p * Bordered::kPixel, Bordered::kPixel, to + p * border_.plane);
        }
      }
    });
  }

  ConvOp op_;
  int64_t x_stride_;
  int32_t width_, height_;
  Bordered border_;
  bool has_border_;  // x was made with one
  Place x_, y_, residual_, row_bias_;
  uint16_t* copy_ = nullptr;
};

}  // namespace

std::unique_ptr<Step> MakeAmxLinear(const Setting& setting, const LinearOp& op) {
  const bool fits = MayUseAmx(setting) && op.x.shape.channels % simd::kStepDepth == 0 &&
                    op.nonlinearity == Nonlinearity::kNone && IsActivation(setting, op.x) &&
                    IsActivation(setting, op.y) &&
                    (!op.residual || IsActivation(setting, *op.residual));
  return fits ? std::make_unique<AmxLinearStep>(setting, op) : nullptr;
}

std::unique_ptr<Step> MakeAmxConv(const Setting& setting, const ConvOp& op) {
  return FitsAmx(setting, op) ? std::make_unique<AmxConvStep>(setting, op) : nullptr;
}

bool WantsBorder(const Setting& setting, const Value& value) {
  int readers = 0, convolutions = 0;
  const TensorInfo& tensor = setting.graph.tensors()[value.tensor];
  if (tensor.bound || tensor.read || tensor.written || !(tensor.shape == value.shape)) return false;
  bool spreads = false;  // by a step that can write it so
  for (const Node& node : setting.graph.nodes()) {
    const auto* conv = std::get_if<ConvOp>(&node.op);
    for (const Value& input : InputsOf(node.op)) {
      if (input.tensor != value.tensor) continue;
      ++readers;
      convolutions += conv != nullptr && conv->x.tensor == value.tensor && FitsAmx(setting, *conv);
    }
    const bool can = std::holds_alternative<GroupNormOp>(node.op) || std::holds_alternative<UpsampleOp>(node.op);
    spreads |= can && OutputOf(node.op).tensor == value.tensor;
  }
  return spreads && readers == 1 && convolutions == 1;
}

}  // namespace tiltshift::engine::cpu
