// GroupNorm with its nonlinearity, and LayerNorm.
//
// GroupNorm reads its input twice: sums and sums of squares of each channel over chunks of rows,
// then the scaled and shifted result. Chunks have a fixed number of rows and are added in order, in
// double, so the moments do not depend on the threads. With fp32 sums over 128 rows the variance is
// within 1e-6 (mean/deviation)^2.
#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/cpu/bordered.h"
#include "engine/cpu/parallel.h"
#include "engine/cpu/step.h"

namespace tiltshift::engine::cpu {
namespace {

constexpr int64_t kChunkRows = 128;

// Sums and sums of squares of each channel of a tensor.
class ChannelSums {
 public:
  ChannelSums(const Setting& setting, const Value& x)
      : kernels_(setting.kernels),
        threads_(setting.threads),
        rows_(x.shape.rows()),
        channels_(x.shape.channels),
        stride_(setting.stride(x)),
        bytes_(setting.bytes(x)) {}

  int64_t chunks() const { return (rows_ + kChunkRows - 1) / kChunkRows; }
  size_t floats() const { return 2 * chunks() * channels_; }
  simd::Rows RowsOf(int64_t chunk) const {
    return {std::min(kChunkRows, rows_ - chunk * kChunkRows), channels_, stride_};
  }
  const char* ChunkOf(const char* x, int64_t chunk) const { return x + chunk * kChunkRows * stride_ * bytes_; }

  // Into `sums`, chunk by chunk.
  void Measure(const char* x, float* sums) const {
    ParallelFor(chunks(), threads_, [&](int64_t chunk, int) {
      float* of_chunk = sums + 2 * chunk * channels_;
      kernels_.moments(ChunkOf(x, chunk), RowsOf(chunk), of_chunk, of_chunk + channels_);
    });
  }

  // The mean, and the mean of the squares, of a group of channels.
  struct Moments {
    double mean, square;
  };
  Moments Of(const float* sums, int64_t first, int64_t size) const {
    const double count = static_cast<double>(size) * static_cast<double>(rows_);
    double sum = 0, square = 0;
    for (int64_t chunk = 0; chunk < chunks(); ++chunk) {
      const float* of_chunk = sums + 2 * chunk * channels_;
      for (int64_t c = first; c < first + size; ++c) {
        sum += of_chunk[c];
        square += of_chunk[channels_ + c];
      }
    }
    return {sum / count, square / count};
  }

 private:
  const simd::Kernels& kernels_;
  int threads_;
  int64_t rows_, channels_, stride_;
  size_t bytes_;
};

class GroupNormStep : public Step {
 public:
  GroupNormStep(const Setting& setting, const GroupNormOp& op)
      : op_(op),
        kernels_(setting.kernels),
        sums_of_(setting, op.x),
        threads_(setting.threads),
        channels_(op.x.shape.channels),
        stride_(setting.stride(op.x)),
        bytes_(setting.bytes(op.x)),
        scale_(setting.weights.Floats(*op.scale)),
        shift_(setting.weights.Floats(*op.shift)),
        border_(op.y.shape),
        has_border_(WantsBorder(setting, op.y)) {}

  size_t output_bytes() const override {
    return has_border_ ? border_.elements() * sizeof(uint16_t) : 0;
  }
  // The sums, then one row each of scale and shift.
  size_t scratch_bytes() const override { return (sums_of_.floats() + 2 * channels_) * sizeof(float); }

  void Bind(const Binder& binder) override {
    x_ = binder.Of(op_.x);
    y_ = binder.Of(op_.y);
    if (op_.moments) given_ = binder.Of(*op_.moments);
    sums_ = reinterpret_cast<float*>(binder.Scratch());
  }

  void Run(const dnnl::stream&) override {
    if (!op_.moments) sums_of_.Measure(x_.get(), sums_);
    float* scale = sums_ + sums_of_.floats();
    float* shift = scale + channels_;
    Combine(scale, shift);
    has_border_ ? ApplyWithBorder(scale, shift) : Apply(scale, shift);
  }

 private:
  void Apply(const float* scale, const float* shift) const {
    char* y = y_.get();
    ParallelFor(sums_of_.chunks(), threads_, [&](int64_t chunk, int) {
      kernels_.scale_shift(sums_of_.ChunkOf(x_.get(), chunk), sums_of_.RowsOf(chunk), scale, shift,
                           ToSimd(op_.nonlinearity), y + chunk * kChunkRows * channels_ * bytes_,
                           {.row = channels_});
    });
  }

  void ApplyWithBorder(const float* scale, const float* shift) const {
    const int64_t width = op_.x.shape.width;
    auto* y = reinterpret_cast<uint16_t*>(y_.get());
    border_.ClearEnds(y);
    ParallelFor(op_.x.shape.height, threads_, [&](int64_t h, int) {
      border_.ClearSides(y, h);
      kernels_.scale_shift(x_.get() + h * width * stride_ * bytes_, {width, channels_, stride_},
                           scale, shift, ToSimd(op_.nonlinearity), border_.Line(y, h),
                           {.row = Bordered::kPixel, .plane = border_.plane});
    });
  }

  ChannelSums::Moments MomentsOf(int64_t group, int64_t size) const {
    if (!op_.moments) return sums_of_.Of(sums_, group * size, size);
    const auto* given = reinterpret_cast<const float*>(given_.get());
    return {given[group], given[op_.groups + group]};
  }

  void Combine(float* scale, float* shift) const {
    const int64_t size = channels_ / op_.groups;
    for (int64_t first = 0; first < channels_; first += size) {
      const auto [mean, square] = MomentsOf(first / size, size);
      const double variance = std::max(0.0, square - mean * mean);
      const double inverse = 1 / std::sqrt(variance + op_.eps);
      for (int64_t c = first; c < first + size; ++c) {
        scale[c] = static_cast<float>(inverse * scale_[c]);
        shift[c] = static_cast<float>(shift_[c] - mean * inverse * scale_[c]);
      }
    }
  }

  GroupNormOp op_;
  const simd::Kernels& kernels_;
  ChannelSums sums_of_;
  int threads_;
  int64_t channels_, stride_;
  size_t bytes_;
  const float* scale_;
  const float* shift_;
  Bordered border_;
  bool has_border_;
  Place x_, y_, given_;
  float* sums_ = nullptr;
};

class MomentsStep : public Step {
 public:
  MomentsStep(const Setting& setting, const MomentsOp& op) : op_(op), sums_of_(setting, op.x) {}

  size_t scratch_bytes() const override { return sums_of_.floats() * sizeof(float); }
  void Bind(const Binder& binder) override {
    x_ = binder.Of(op_.x);
    y_ = binder.Of(op_.y);
    sums_ = reinterpret_cast<float*>(binder.Scratch());
  }
  void Run(const dnnl::stream&) override {
    sums_of_.Measure(x_.get(), sums_);
    auto* y = reinterpret_cast<float*>(y_.get());
    const int64_t size = op_.x.shape.channels / op_.groups;
    for (int group = 0; group < op_.groups; ++group) {
      const auto [mean, square] = sums_of_.Of(sums_, group * size, size);
      y[group] = static_cast<float>(mean);
      y[op_.groups + group] = static_cast<float>(square);
    }
  }

 private:
  MomentsOp op_;
  ChannelSums sums_of_;
  Place x_, y_;
  float* sums_ = nullptr;
};

class LayerNormStep : public Step {
 public:
  LayerNormStep(const Setting& setting, const LayerNormOp& op)
      : op_(op),
        kernels_(setting.kernels),
        threads_(setting.threads),
        stride_(setting.stride(op.x)),
        bytes_(setting.bytes(op.x)),
        scale_(setting.weights.Floats(*op.scale)),
        shift_(setting.weights.Floats(*op.shift)) {}

  void Bind(const Binder& binder) override {
    x_ = binder.Of(op_.x);
    y_ = binder.Of(op_.y);
  }

  void Run(const dnnl::stream&) override {
    constexpr int64_t kRows = 32;
    const int64_t rows = op_.x.shape.rows();
    const int64_t channels = op_.x.shape.channels;
    const char* x = x_.get();
    char* y = y_.get();
    ParallelFor((rows + kRows - 1) / kRows, threads_, [&](int64_t block, int) {
      const int64_t first = block * kRows;
      kernels_.layer_norm(x + first * stride_ * bytes_,
                          {std::min(kRows, rows - first), channels, stride_}, scale_, shift_,
                          op_.eps, y + first * channels * bytes_);
    });
  }

 private:
  LayerNormOp op_;
  const simd::Kernels& kernels_;
  int threads_;
  int64_t stride_;
  size_t bytes_;
  const float* scale_;
  const float* shift_;
  Place x_, y_;
};

}  // namespace

std::unique_ptr<Step> MakeGroupNorm(const Setting& setting, const GroupNormOp& op) {
  return std::make_unique<GroupNormStep>(setting, op);
}

std::unique_ptr<Step> MakeMoments(const Setting& setting, const MomentsOp& op) {
  return std::make_unique<MomentsStep>(setting, op);
}

std::unique_ptr<Step> MakeLayerNorm(const Setting& setting, const LayerNormOp& op) {
  return std::make_unique<LayerNormStep>(setting, op);
}

}  // namespace tiltshift::engine::cpu
