// Linear layers on AMX tiles. In fp32 the rows are split into terms, a run of them at a time.
#include <algorithm>

#include "engine/cpu/amx_product_step.h"
#include "engine/cpu/parallel.h"

namespace tiltshift::engine::cpu {
namespace {

class AmxLinearStep : public AmxProductStep {
 public:
  AmxLinearStep(const Setting& setting, const LinearOp& op)
      : AmxProductStep(setting, *op.matrix, op.bias, op.geglu),
        op_(op),
        rows_(op.x.shape.rows()),
        channels_(op.x.shape.channels),
        x_stride_(setting.stride(op.x)) {
    for (int32_t k = 0; k < channels_; k += simd::kStepDepth) steps_.push_back(k);
    run_rows_ = rows_;
    if (fp32()) {
      const int64_t most = static_cast<int64_t>(kMostSplitBytes) / (channels_ * 2 * terms()) / 32 * 32;
      run_rows_ = std::min(rows_, std::max<int64_t>(32 * threads_, most));
    }
    product_.a_stride = fp32() ? channels_ : x_stride_;
    product_.a_term = run_rows_ * channels_;
    product_.y_stride = op.y.shape.channels;
    if (op.residual) product_.residual_stride = setting.stride(*op.residual);
    whole_ = PlacesOf(run_rows_);
    last_ = PlacesOf((rows_ - 1) % run_rows_ + 1);
    SetPlaces(whole_);
  }

  size_t scratch_bytes() const override {
    return SumBytes() + (fp32() ? terms() * product_.a_term * sizeof(uint16_t) : 0);
  }
  void Bind(const Binder& binder) override {
    x_ = binder.Of(op_.x);
    y_ = binder.Of(op_.y);
    if (op_.residual) residual_ = binder.Of(*op_.residual);
    SetSums(binder.Scratch());
    split_ = reinterpret_cast<uint16_t*>(binder.Scratch() + SumBytes());
  }

  void Run(const dnnl::stream&) override {
    const char* residual = op_.residual ? residual_.get() : nullptr;
    for (int64_t first = 0; first < rows_; first += run_rows_) {
      const bool last = rows_ - first <= run_rows_;
      if (fp32()) Split(first, std::min(run_rows_, rows_ - first));
      Multiply(last ? last_ : whole_, fp32() ? split_ : reinterpret_cast<const uint16_t*>(x_.get()),
               first, y_.get(), residual);
    }
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

  void Split(int64_t first, int64_t rows) const {
    const auto* x = reinterpret_cast<const float*>(x_.get()) + first * x_stride_;
    ParallelFor((rows + 15) / 16, threads_, [&](int64_t block, int) {
      for (int64_t row = block * 16; row < std::min(rows, (block + 1) * 16); ++row) {
        simd::AmxSplit(x + row * x_stride_, channels_, product_.a_term, split_ + row * channels_);
      }
    });
  }

  LinearOp op_;
  int64_t rows_, channels_, x_stride_;
  int64_t run_rows_;  // multiplied at a time
  RowPlaces whole_, last_;
  Place x_, y_, residual_;
  uint16_t* split_ = nullptr;
};

}  // namespace

bool FitsAmx(const Setting& setting, const LinearOp& op) {
  return MayUseAmx(setting) && op.x.shape.channels % simd::kStepDepth == 0 &&
         op.nonlinearity == Nonlinearity::kNone && IsActivation(setting, op.x) &&
         IsActivation(setting, op.y) && (!op.residual || IsActivation(setting, *op.residual));
}

std::unique_ptr<Step> MakeAmxLinear(const Setting& setting, const LinearOp& op) {
  return FitsAmx(setting, op) ? std::make_unique<AmxLinearStep>(setting, op) : nullptr;
}

}  // namespace tiltshift::engine::cpu
