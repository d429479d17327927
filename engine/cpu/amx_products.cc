// Linear layers and convolutions on AMX tiles. The arithmetic is in simd/amx_product.h; here rows
// and weights find their places.
#include <algorithm>

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

  // Threads share out the rows, or the columns where there are few rows.
  void Multiply() const {
    const int64_t tiles = product_.tile_count, panels = simd::PanelsFor(product_.columns);
    const bool by_rows = tiles >= 4 * threads_;
    const int64_t count = by_rows ? tiles : panels;
    const int64_t share = (count + threads_ - 1) / threads_;
    ParallelFor(threads_, threads_, [&](int64_t i, int) {
      const int64_t first = std::min(count, i * share), last = std::min(count, (i + 1) * share);
      if (by_rows) simd::AmxMultiply(product_, {first, last, 0, panels});
      if (!by_rows) simd::AmxMultiply(product_, {0, tiles, first, last});
    });
  }

  int threads_;
  std::span<const uint16_t> panels_;
  std::vector<int32_t> tiles_, steps_, out_;
  simd::AmxProduct product_;
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
    product_.y_stride = op.y.shape.channels;
    if (op.residual) product_.residual_stride = setting.stride(*op.residual);
    SetPlaces();
  }

  void Bind(const Binder& binder) override {
    x_ = binder.Of(op_.x);
    y_ = binder.Of(op_.y);
    if (op_.residual) residual_ = binder.Of(*op_.residual);
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

// A 3x3 convolution: step k of the sum is a place of the filter and 32 channels, and a tile's rows
// are 16 pixels that lie side by side in a copy of the picture with a border of zeros.
class AmxConvStep : public AmxProductStep {
 public:
  AmxConvStep(const Setting& setting, const ConvOp& op)
      : AmxProductStep(setting, *op.filter, op.row_bias ? nullptr : op.bias),
        op_(op),
        x_stride_(setting.stride(op.x)),
        width_(op.x.shape.width),
        height_(op.x.shape.height),
        channels_(op.x.shape.channels),
        border_(op.x.shape),
        has_border_(WantsBorder(setting, op.x)) {
    const int32_t line = width_ + 2;
    if (width_ % 16 == 0) {
      for (int32_t h = 0; h < height_; ++h) {
        for (int32_t w = 0; w < width_; w += 16) tiles_.push_back((h * line + w) * channels_);
      }
      for (int32_t i = 0; i < height_ * width_; ++i) out_.push_back(i);
    } else {  // tiles run on over the border, whose sums nobody wants
      const int32_t pixels = height_ * line - 2;
      for (int32_t i = 0; i < pixels; i += 16) tiles_.push_back(i * channels_);
      for (int32_t i = 0; i < static_cast<int32_t>(tiles_.size()) * 16; ++i) {
        out_.push_back(i < pixels && i % line < width_ ? i / line * width_ + i % line : -1);
      }
    }
    for (int32_t place = 0; place < 9; ++place) {
      for (int32_t c = 0; c < channels_; c += simd::kStepDepth) {
        steps_.push_back((place / 3 * line + place % 3) * channels_ + c);
      }
    }
    product_.a_stride = channels_;
    product_.y_stride = op.y.shape.channels;
    if (op.residual) product_.residual_stride = setting.stride(*op.residual);
    SetPlaces();
  }

  size_t scratch_bytes() const override {
    return has_border_ ? 0 : border_.elements() * sizeof(uint16_t);
  }

  void Bind(const Binder& binder) override {
    x_ = binder.Of(op_.x);
    y_ = binder.Of(op_.y);
    if (op_.residual) residual_ = binder.Of(*op_.residual);
    if (op_.row_bias) row_bias_ = binder.Of(*op_.row_bias);
    copy_ = reinterpret_cast<uint16_t*>(binder.Scratch());
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
      const uint16_t* from = x + h * width_ * x_stride_;
      uint16_t* to = border_.Line(copy_, h);
      border_.ClearSides(copy_, h);
      if (x_stride_ == channels_) {
        std::copy_n(from, width_ * x_stride_, to);
      } else {
        for (int64_t w = 0; w < width_; ++w)
          std::copy_n(from + w * x_stride_, channels_, to + w * channels_);
      }
    });
  }

  ConvOp op_;
  int64_t x_stride_;
  int32_t width_, height_, channels_;
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
  bool normalised = false;
  for (const Node& node : setting.graph.nodes()) {
    const auto* conv = std::get_if<ConvOp>(&node.op);
    for (const Value& input : InputsOf(node.op)) {
      if (input.tensor != value.tensor) continue;
      ++readers;
      convolutions += conv != nullptr && conv->x.tensor == value.tensor && FitsAmx(setting, *conv);
    }
    normalised |=
        std::holds_alternative<GroupNormOp>(node.op) && OutputOf(node.op).tensor == value.tensor;
  }
  return normalised && readers == 1 && convolutions == 1;
}

}  // namespace tiltshift::engine::cpu
