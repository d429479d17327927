// Convolutions of 3x3 on AMX tiles, over a copy of the picture with a border (bordered.h): step k
// of the sum is 32 channels at a place of the filter, all places before the next channels, and a
// tile's rows are 16 pixels that lie side by side. In fp32 the copy is of the picture's terms, and
// of some lines at a time.
#include <algorithm>

#include "engine/cpu/amx_product_step.h"
#include "engine/cpu/bordered.h"
#include "engine/cpu/parallel.h"

namespace tiltshift::engine::cpu {
namespace {

constexpr auto kPixel = static_cast<int32_t>(Bordered::kPixel);

bool FitsAmx(const Setting& setting, const ConvOp& op) {
  return MayUseAmx(setting) && op.filter->shape[2] == 3 && op.stride == 1 &&
         op.x.shape.channels % simd::kStepDepth == 0 && IsActivation(setting, op.x) &&
         IsActivation(setting, op.y) && (!op.residual || IsActivation(setting, *op.residual));
}

class AmxConvStep : public AmxProductStep {
 public:
  AmxConvStep(const Setting& setting, const ConvOp& op)
      : AmxProductStep(setting,
                       {op.x, op.y, op.residual, op.filter, op.row_bias ? nullptr : op.bias}),
        row_bias_value_(op.row_bias),
        width_(op.x.shape.width),
        height_(op.x.shape.height),
        lines_(LinesAtATime()),
        border_({lines_, width_, op.x.shape.channels}) {
    const int32_t line = width_ + 2;
    for (int64_t plane = 0; plane < border_.planes; ++plane) {
      for (int32_t place = 0; place < 9; ++place) {
        const int32_t pixel = place / 3 * line + place % 3;
        steps_.push_back(static_cast<int32_t>(plane * border_.plane) + pixel * kPixel);
      }
    }
    product_.a_stride = kPixel;
    const bool has_border = WantsBorder(setting, op.x);  // x was made with one
    SetRuns({.lines = height_,
             .at_a_time = lines_,
             .line_rows = width_,
             .copy_elements = has_border ? 0 : border_.elements(),
             .whole = PlacesOf(lines_),
             .last = PlacesOf((height_ - 1) % lines_ + 1)});
  }

  void Bind(const Binder& binder) override {
    AmxProductStep::Bind(binder);
    if (row_bias_value_) row_bias_ = binder.Of(*row_bias_value_);
  }

  void Run(const dnnl::stream& stream) override {
    if (row_bias_value_) product_.bias = reinterpret_cast<const float*>(row_bias_.get());
    AmxProductStep::Run(stream);
  }

 private:
  int LinesAtATime() const {
    if (!fp32()) return height_;
    const int64_t bytes = int64_t{width_ + 2} * layer_.x.shape.channels * 2 * terms();
    const auto most = static_cast<int>(static_cast<int64_t>(kMostSplitBytes) / bytes) - 2;
    return std::min(height_, std::max(most, 8 * threads_));
  }

  RowPlaces PlacesOf(int32_t lines) const {
    RowPlaces places;
    const int32_t line = width_ + 2;
    if (width_ % 16 == 0) {
      for (int32_t h = 0; h < lines; ++h) {
        for (int32_t w = 0; w < width_; w += 16) places.tiles.push_back((h * line + w) * kPixel);
      }
      for (int32_t i = 0; i < lines * width_; ++i) places.out.push_back(i);
    } else {  // tiles run on over the border, whose sums nobody wants
      const int32_t pixels = lines * line - 2;
      for (int32_t i = 0; i < pixels; i += 16) places.tiles.push_back(i * kPixel);
      for (int32_t i = 0; i < static_cast<int32_t>(places.tiles.size()) * 16; ++i) {
        places.out.push_back(i < pixels && i % line < width_ ? i / line * width_ + i % line : -1);
      }
    }
    return places;
  }

  // With the lines above and below, which are zeros past the picture's ends.
  void Copy(int64_t first, int64_t lines) const override {
    for (int t = 0; t < terms(); ++t) border_.ClearEnds(copy_ + t * product_.a_term);
    const int64_t from = std::max<int64_t>(first - 1, 0),
                  to = std::min<int64_t>(first + lines + 1, height_);
    ParallelFor(to - from, threads_, [&](int64_t i, int) {
      const int64_t h = from + i;
      for (int t = 0; t < terms(); ++t) border_.ClearSides(copy_ + t * product_.a_term, h - first);
      uint16_t* line = border_.Line(copy_, h - first);
      fp32() ? SplitLine(h, line) : CopyLine(h, line);
    });
    if (to - first < lines_ + 1) {  // a last run may be shorter
      for (int t = 0; t < terms(); ++t) border_.ClearLine(copy_ + t * product_.a_term, to - first);
    }
  }
  void CopyLine(int64_t h, uint16_t* to) const {
    const uint16_t* from = reinterpret_cast<const uint16_t*>(x()) + h * width_ * x_stride_;
    for (int64_t w = 0; w < width_; ++w, from += x_stride_, to += kPixel) {
      for (int64_t p = 0; p < border_.planes; ++p)
        std::copy_n(from + p * kPixel, kPixel, to + p * border_.plane);
    }
  }
  void SplitLine(int64_t h, uint16_t* to) const {
    const float* from = reinterpret_cast<const float*>(x()) + h * width_ * x_stride_;
    for (int64_t w = 0; w < width_; ++w, from += x_stride_, to += kPixel) {
      for (int64_t p = 0; p < border_.planes; ++p) {
        simd::AmxSplit(from + p * kPixel, kPixel, product_.a_term, to + p * border_.plane);
      }
    }
  }

  std::optional<Value> row_bias_value_;
  Place row_bias_;
  int width_, height_;
  int lines_;  // multiplied at a time
  Bordered border_;
};

}  // namespace

std::unique_ptr<Step> MakeAmxConv(const Setting& setting, const ConvOp& op) {
  return FitsAmx(setting, op) ? std::make_unique<AmxConvStep>(setting, op) : nullptr;
}

bool WantsBorder(const Setting& setting, const Value& value) {
  int readers = 0, convolutions = 0;
  if (!setting.bf16) return false;  // it is split for the convolution
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
    const bool can =
        std::holds_alternative<GroupNormOp>(node.op) || std::holds_alternative<UpsampleOp>(node.op);
    spreads |= can && OutputOf(node.op).tensor == value.tensor;
  }
  return spreads && readers == 1 && convolutions == 1;
}

}  // namespace tiltshift::engine::cpu
