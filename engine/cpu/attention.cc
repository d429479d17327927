// Attention where there is no AMX, and causal attention, over packed heads: each head's keys and values are unpacked to floats, then blocks of
// queries run on their own. See simd/attend.inc for the arithmetic.
#include <algorithm>
#include <cmath>

#include "engine/cpu/isa.h"
#include "engine/cpu/parallel.h"
#include "engine/cpu/step.h"

namespace tiltshift::engine::cpu {
namespace {

class AttentionStep : public Step {
 public:
  AttentionStep(const Setting& setting, const AttentionOp& op)
      : op_(op),
        kernels_(setting.kernels),
        threads_(setting.threads),
        q_stride_(setting.stride(op.q)),
        kv_stride_(setting.stride(op.k)),
        bytes_(setting.bytes(op.q)) {
    const int64_t lanes = kernels_.lanes;
    const auto padded = [&](int64_t n) { return (n + lanes - 1) / lanes * lanes; };
    head_.keys = op.k.shape.rows();
    head_.padded_keys = padded(head_.keys);
    head_.d = op.q.shape.channels / op.heads;
    head_.padded_d = padded(head_.d);
    key_floats_ = head_.d * head_.padded_keys;
    head_floats_ = key_floats_ + head_.keys * head_.padded_d;
    thread_floats_ = simd::kAttendRows * (head_.padded_keys + head_.padded_d);
  }

  size_t scratch_bytes() const override {
    return (op_.heads * head_floats_ + threads_ * thread_floats_) * sizeof(float);
  }

  void Bind(const Binder& binder) override {
    q_ = binder.Of(op_.q);
    k_ = binder.Of(op_.k);
    v_ = binder.Of(op_.v);
    y_ = binder.Of(op_.y);
    scratch_ = reinterpret_cast<float*>(binder.Scratch());
  }

  void Run(const dnnl::stream&) override {
    ParallelFor(op_.heads, threads_, [&](int64_t head, int) {
      const int64_t at = head * head_.d * bytes_;
      kernels_.pack_head(k_.get() + at, v_.get() + at, kv_stride_, Head(head));
    });
    const int64_t rows = op_.q.shape.rows();
    const int64_t blocks = (rows + simd::kAttendRows - 1) / simd::kAttendRows;
    const int64_t y_stride = op_.y.shape.channels;
    const float scale = 1.0f / std::sqrt(static_cast<float>(head_.d));
    ParallelFor(op_.heads * blocks, threads_, [&](int64_t index, int thread) {
      const int64_t head = index / blocks;
      const int64_t first = index % blocks * simd::kAttendRows;
      const simd::AttendOptions options = {
          .rows = std::min(simd::kAttendRows, rows - first),
          .q_stride = q_stride_,
          .y_stride = y_stride,
          .scale = scale,
          .first_row = op_.causal ? first : -1,
      };
      kernels_.attend_rows(q_.get() + (first * q_stride_ + head * head_.d) * bytes_, Head(head), options,
                           scratch_ + op_.heads * head_floats_ + thread * thread_floats_,
                           y_.get() + (first * y_stride + head * head_.d) * bytes_);
    });
  }

 private:
  simd::PackedHead Head(int64_t head) const {
    simd::PackedHead packed = head_;
    packed.k = scratch_ + head * head_floats_;
    packed.v = packed.k + key_floats_;
    return packed;
  }

  AttentionOp op_;
  const simd::Kernels& kernels_;
  int threads_;
  int64_t q_stride_, kv_stride_;
  size_t bytes_;
  simd::PackedHead head_;
  int64_t key_floats_, head_floats_, thread_floats_;
  Place q_, k_, v_, y_;
  float* scratch_ = nullptr;
};

}  // namespace

std::unique_ptr<Step> MakeAttention(const Setting& setting, const AttentionOp& op) {
  const bool whole_pairs = op.q.shape.channels / op.heads % 2 == 0;
  const bool tiles = setting.bf16 ? whole_pairs : setting.products == Products::kFastest;
  if (HasAmx() && tiles && !op.causal) return MakeAmxAttention(setting, op);
  return std::make_unique<AttentionStep>(setting, op);
}

}  // namespace tiltshift::engine::cpu
