#include "engine/cpu/amx_product_step.h"

#include <algorithm>
#include <utility>

#include "engine/cpu/aligned.h"
#include "engine/cpu/isa.h"
#include "engine/cpu/parallel.h"

namespace tiltshift::engine::cpu {
namespace {

// A term keeps 8 bits: one says all of a bf16.
int WeightTerms(const Parameter& parameter) {
  const bool bf16 = std::all_of(parameter.parts.begin(), parameter.parts.end(),
                                [](const TensorView& part) { return part.dtype == Dtype::kBf16; });
  return bf16 && parameter.addends.empty() ? 1 : simd::kSplitTerms;
}

// Panels are handed out in fourths of a thread's share: what one has to wait for the other with.
constexpr int64_t kPartsAShare = 4;

// The size of parts of a share, at most `most` each and about equal: two tiles are multiplied
// together.
int64_t EvenParts(int64_t share, int64_t most) {
  const int64_t parts = (share + most - 1) / most, each = (share + parts - 1) / parts;
  return std::min(share, (each + 1) / 2 * 2);
}

}  // namespace

bool MayUseAmx(const Setting& setting) {
  return HasAmx() && setting.products == Products::kFastest;
}

bool IsActivation(const Setting& setting, const Value& value) {
  return !setting.bf16 || setting.graph.element(value) == Element::kActivation;
}

AmxProductStep::AmxProductStep(const Setting& setting, Layer layer)
    : layer_(std::move(layer)), threads_(setting.threads), x_stride_(setting.stride(layer_.x)) {
  const Parameter& matrix = *layer_.matrix;
  product_.fp32 = !setting.bf16;
  product_.layout = {.terms = setting.bf16 ? 1 : WeightTerms(matrix), .pairs = layer_.geglu};
  product_.b = setting.weights.Panels(matrix, product_.layout).data();
  product_.columns = matrix.shape[0];
  product_.row_bytes = matrix.shape[1] * 2 * terms();
  if (layer_.bias != nullptr) product_.bias = setting.weights.Floats(*layer_.bias);
  product_.y_stride = layer_.y.shape.channels;
  if (layer_.residual) product_.residual_stride = setting.stride(*layer_.residual);
}

void AmxProductStep::SetRuns(Runs runs) {
  runs_ = std::move(runs);
  product_.a_term = runs_.copy_elements;
  product_.steps = steps_.data();
  product_.step_count = static_cast<int64_t>(steps_.size());
  product_.tile_count = static_cast<int64_t>(runs_.whole.tiles.size());
}

size_t AmxProductStep::ThreadSumBytes() const {
  return Align(simd::AmxSumFloats(product_) * sizeof(float));
}

size_t AmxProductStep::scratch_bytes() const {
  return threads_ * ThreadSumBytes() + terms() * runs_.copy_elements * sizeof(uint16_t);
}

void AmxProductStep::Bind(const Binder& binder) {
  x_ = binder.Of(layer_.x);
  y_ = binder.Of(layer_.y);
  if (layer_.residual) residual_ = binder.Of(*layer_.residual);
  sums_ = binder.Scratch();
  copy_ = reinterpret_cast<uint16_t*>(sums_ + threads_ * ThreadSumBytes());
}

void AmxProductStep::Run(const dnnl::stream&) {
  const bool copies = runs_.copy_elements > 0;
  for (int64_t first = 0; first < runs_.lines; first += runs_.at_a_time) {
    const bool last = runs_.lines - first <= runs_.at_a_time;
    if (copies) Copy(first, std::min(runs_.at_a_time, runs_.lines - first));
    Multiply(last ? runs_.last : runs_.whole,
             copies ? copy_ : reinterpret_cast<const uint16_t*>(x()), first * runs_.line_rows);
  }
}

// Threads share out runs of rows, each of which sees all panels; or panels, where all rows are one
// run.
void AmxProductStep::Multiply(const RowPlaces& rows, const uint16_t* a, int64_t first_row) {
  const size_t bytes = fp32() ? sizeof(float) : sizeof(uint16_t), sum_bytes = ThreadSumBytes();
  simd::AmxProduct product = product_;
  product.a = a;
  product.tiles = rows.tiles.data();
  product.tile_count = static_cast<int64_t>(rows.tiles.size());
  product.last_rows = rows.last_rows;
  product.out = rows.out.data();
  product.y = y_.get() + first_row * product.y_stride * bytes;
  if (layer_.residual)
    product.residual = residual_.get() + first_row * product.residual_stride * bytes;
  const int64_t tiles = product.tile_count, panels = simd::PanelsFor(product.columns);
  const int64_t run = simd::AmxRunTiles(product);
  const bool by_rows = tiles > run;
  const int64_t count = by_rows ? tiles : panels;
  const int64_t share = (count + threads_ - 1) / threads_;
  int64_t part = (share + kPartsAShare - 1) / kPartsAShare;
  if (by_rows) part = EvenParts(share, run);
  ParallelFor((count + part - 1) / part, threads_, [&](int64_t i, int thread) {
    const int64_t first = i * part, last = std::min(count, first + part);
    simd::AmxPart some = {0, tiles, 0, panels};
    (by_rows ? some.first_tile : some.first_panel) = first;
    (by_rows ? some.last_tile : some.last_panel) = last;
    some.sums = reinterpret_cast<float*>(sums_ + thread * sum_bytes);
    simd::AmxMultiply(product, some);
  });
}

}  // namespace tiltshift::engine::cpu
