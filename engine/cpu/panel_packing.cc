#include "engine/cpu/panel_packing.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/check.h"

namespace tiltshift::engine::cpu {
namespace {

constexpr int64_t kLeastSteps = 16;  // of a row, that are converted at a time

}  // namespace

PanelPacking::PanelPacking(const Parameter& parameter, const simd::PanelLayout& layout)
    : parameter_(&parameter),
      layout_(layout),
      columns_(parameter.shape[0]),
      depth_(parameter.elements() / parameter.shape[0]),
      places_(depth_ / parameter.shape[1]),
      panels_(simd::PanelsFor(columns_)),
      steps_(depth_ / simd::kStepDepth),
      step_bytes_(layout.elements(1) * sizeof(uint16_t)) {
  TS_CHECK(places_ == 1 || places_ == 9);
}

// The terms of a panel's columns, some blocks of channels at a time; of columns past the last,
// zeros.
class PanelPacking::Rows {
 public:
  explicit Rows(const PanelPacking& packing)
      : packing_(packing),
        run_steps_(std::max<int64_t>(1, kLeastSteps / packing.places_) * packing.places_),
        floats_(run_steps_ * simd::kStepDepth),
        lines_(run_steps_ * packing.layout_.terms * simd::kPanelColumns) {}

  void PackStep(int64_t panel, int64_t step, uint16_t* out) {
    if (panel != panel_ || step < first_ || step >= first_ + run_steps_)
      Load(panel, step / run_steps_ * run_steps_);
    simd::AmxPackStep(StepAt(step - first_), packing_.layout_.terms, out);
  }

 private:
  struct alignas(64) Line {
    uint16_t channels[simd::kStepDepth];
  };

  uint16_t* StepAt(int64_t step) {
    return lines_[step * packing_.layout_.terms * simd::kPanelColumns].channels;
  }
  void Load(int64_t panel, int64_t first) {
    panel_ = panel;
    first_ = first;
    const int64_t steps = std::min<int64_t>(run_steps_, packing_.steps_ - first);
    const std::span<float> row(floats_.data(), static_cast<size_t>(steps * simd::kStepDepth));
    for (int64_t n = 0; n < simd::kPanelColumns; ++n) {
      const int64_t column = ColumnOf(panel, n);
      if (column < packing_.columns_) {
        packing_.parameter_->CopyElements(column * packing_.depth_ + first * simd::kStepDepth, row);
      } else {
        std::fill(row.begin(), row.end(), 0.0f);
      }
      for (int64_t step = 0; step < steps; step += packing_.places_) {
        simd::AmxPackRow(&row[step * simd::kStepDepth], packing_.places_, packing_.layout_.terms,
                         StepAt(step) + n * simd::kStepDepth);
      }
    }
  }
  int64_t ColumnOf(int64_t panel, int64_t n) const {
    constexpr int64_t kHalf = simd::kPanelColumns / 2;
    if (!packing_.layout_.pairs) return panel * simd::kPanelColumns + n;
    return panel * kHalf + n % kHalf + n / kHalf * packing_.columns_ / 2;
  }

  const PanelPacking& packing_;
  const int64_t run_steps_;  // of whole blocks
  int64_t panel_ = -1, first_ = 0;
  std::vector<float> floats_;  // of a row
  std::vector<Line> lines_;    // [run_steps_][terms][kPanelColumns]
};

void PanelPacking::Pack(uint64_t from, std::span<char> out) const {
  Rows rows(*this);
  alignas(64) uint16_t whole[simd::kSplitTerms * simd::kStepDepth * simd::kPanelColumns];
  const uint64_t end = from + out.size();
  for (uint64_t step = from / step_bytes_; step * step_bytes_ < end; ++step) {
    const uint64_t first = step * step_bytes_, last = first + step_bytes_;
    const auto panel = static_cast<int64_t>(step / steps_),
               of_panel = static_cast<int64_t>(step % steps_);
    const bool cut = first < from || last > end;
    char* const to = out.data() + (std::max(first, from) - from);
    rows.PackStep(panel, of_panel, cut ? whole : reinterpret_cast<uint16_t*>(to));
    if (!cut) continue;
    const uint64_t begin = std::max(first, from);
    std::memcpy(to, reinterpret_cast<const char*>(whole) + (begin - first),
                std::min(last, end) - begin);
  }
}

}  // namespace tiltshift::engine::cpu
