// Linear layers on AMX tiles. In fp32 the rows are split into terms, a run of them at a time.
#include <algorithm>

#include "engine/cpu/amx_product_step.h"
#include "engine/cpu/parallel.h"

namespace tiltshift::engine::cpu {
namespace {

class AmxLinearStep : public AmxProductStep {
 public:
  AmxLinearStep(const Setting& setting, const LinearOp& op)
      : AmxProductStep(setting, {op.x, op.y, op.residual, op.matrix, op.bias, op.geglu}),
        channels_(op.x.shape.channels) {
    for (int32_t k = 0; k < channels_; k += simd::kStepDepth) steps_.push_back(k);
    const int64_t rows = op.x.shape.rows();
    int64_t run = rows;
    if (fp32()) {
      const auto most = static_cast<int64_t>(kMostSplitBytes) / (channels_ * 2 * terms());
      run = std::min(rows, std::max<int64_t>(32 * threads_, most / 32 * 32));
    }
    product_.a_stride = fp32() ? channels_ : x_stride_;
    SetRuns({.lines = rows,
             .at_a_time = run,
             .line_rows = 1,
             .copy_elements = fp32() ? run * channels_ : 0,
             .whole = PlacesOf(run),
             .last = PlacesOf((rows - 1) % run + 1)});
  }

 private:
  RowPlaces PlacesOf(int64_t rows) const {
    RowPlaces places;
    for (int64_t row = 0; row < rows; row += 16) {
      places.tiles.push_back(static_cast<int32_t>(row * product_.a_stride));
    }
    for (int32_t row = 0; row < rows; ++row) places.out.push_back(row);
    places.last_rows = static_cast<int>((rows - 1) % 16 + 1);
    return places;
  }

  void Copy(int64_t first, int64_t rows) const override {
    const auto* from = reinterpret_cast<const float*>(x()) + first * x_stride_;
    ParallelFor((rows + 15) / 16, threads_, [&](int64_t block, int) {
      for (int64_t row = block * 16; row < std::min(rows, (block + 1) * 16); ++row) {
        simd::AmxSplit(from + row * x_stride_, channels_, product_.a_term, copy_ + row * channels_);
      }
    });
  }

  int64_t channels_;
};

bool FitsAmx(const Setting& setting, const LinearOp& op) {
  return MayUseAmx(setting) && op.x.shape.channels % simd::kStepDepth == 0 &&
         (!op.geglu || op.matrix->shape[0] % simd::kPanelColumns == 0) &&
         op.nonlinearity == Nonlinearity::kNone && IsActivation(setting, op.x) &&
         IsActivation(setting, op.y) && (!op.residual || IsActivation(setting, *op.residual));
}

}  // namespace

std::unique_ptr<Step> MakeAmxLinear(const Setting& setting, const LinearOp& op) {
  return FitsAmx(setting, op) ? std::make_unique<AmxLinearStep>(setting, op) : nullptr;
}

}  // namespace tiltshift::engine::cpu
