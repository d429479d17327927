// Attention on AMX tiles, in bf16 or fp32: heads are packed into tiles, then blocks of queries run on their own. The
// arithmetic is in simd/amx.h.
#include <algorithm>
#include <cmath>

#include "engine/cpu/aligned.h"
#include "engine/cpu/parallel.h"
#include "engine/cpu/simd/amx.h"
#include "engine/cpu/step.h"

namespace tiltshift::engine::cpu {
namespace {

// T: what q, k, v and y are made of.
template <class T>
class AmxAttentionStep : public Step {
 public:
  AmxAttentionStep(const Setting& setting, const AttentionOp& op)
      : op_(op),
        threads_(setting.threads),
        q_stride_(setting.stride(op.q)),
        kv_stride_(setting.stride(op.k)),
        longest_(op.heads),
        head_(op.k.shape.rows(), op.q.shape.channels / op.heads, sizeof(T) == 4),
        head_bytes_(Align((head_.key_elements() + head_.value_elements()) * sizeof(uint16_t))),
        thread_bytes_(Align(simd::AmxScratchBytes(head_))) {}

  size_t scratch_bytes() const override { return op_.heads * head_bytes_ + threads_ * thread_bytes_; }

  void Bind(const Binder& binder) override {
    q_ = binder.Of(op_.q);
    k_ = binder.Of(op_.k);
    v_ = binder.Of(op_.v);
    y_ = binder.Of(op_.y);
    scratch_ = binder.Scratch();
  }

  void Run(const dnnl::stream&) override {
    const auto* q = reinterpret_cast<const T*>(q_.get());
    const auto* k = reinterpret_cast<const T*>(k_.get());
    const auto* v = reinterpret_cast<const T*>(v_.get());
    auto* y = reinterpret_cast<T*>(y_.get());
    ParallelFor(op_.heads, threads_, [&](int64_t head, int thread) {
      longest_[head] =
          simd::AmxPackHead(k + head * head_.d, v + head * head_.d, kv_stride_, Head(head), ThreadScratch(thread));
    });
    const int64_t rows = op_.q.shape.rows();
    const int64_t blocks = (rows + simd::kAmxMostRows - 1) / simd::kAmxMostRows;
    const int64_t y_stride = op_.y.shape.channels;
    const float scale = 1.0f / std::sqrt(static_cast<float>(head_.d));
    ParallelFor(op_.heads * blocks, threads_, [&](int64_t index, int thread) {
      const int64_t head = index / blocks;
      const int64_t first = index % blocks * simd::kAmxMostRows;
      const simd::AmxOptions options = {std::min(simd::kAmxMostRows, rows - first), q_stride_, y_stride, scale};
      simd::AmxAttend(q + first * q_stride_ + head * head_.d, Head(head), options, ThreadScratch(thread),
                      y + first * y_stride + head * head_.d);
    });
  }

 private:
  simd::AmxHead Head(int64_t head) const {
    simd::AmxHead packed = head_;
    packed.k = reinterpret_cast<uint16_t*>(scratch_ + head * head_bytes_);
    packed.v = packed.k + head_.key_elements();
    packed.longest = longest_[head];
    return packed;
  }
  char* ThreadScratch(int thread) const { return scratch_ + op_.heads * head_bytes_ + thread * thread_bytes_; }

  AttentionOp op_;
  int threads_;
  int64_t q_stride_, kv_stride_;
  std::vector<float> longest_;  // [heads]: keys
  simd::AmxHead head_;
  size_t head_bytes_, thread_bytes_;
  Place q_, k_, v_, y_;
  char* scratch_ = nullptr;
};

}  // namespace

std::unique_ptr<Step> MakeAmxAttention(const Setting& setting, const AttentionOp& op) {
  if (setting.bf16) return std::make_unique<AmxAttentionStep<uint16_t>>(setting, op);
  return std::make_unique<AmxAttentionStep<float>>(setting, op);
}

}  // namespace tiltshift::engine::cpu
