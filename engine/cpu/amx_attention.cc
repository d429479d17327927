// Attention on AMX tiles: heads are packed into tiles, then blocks of queries run on their own. The
// arithmetic is in simd/amx.h.
#include <algorithm>
#include <cmath>

#include "engine/cpu/aligned.h"
#include "engine/cpu/parallel.h"
#include "engine/cpu/simd/amx.h"
#include "engine/cpu/step.h"

namespace tiltshift::engine::cpu {
namespace {

class AmxAttentionStep : public Step {
 public:
  AmxAttentionStep(const Setting& setting, const AttentionOp& op)
      : op_(op),
        threads_(setting.threads),
        q_stride_(setting.stride(op.q)),
        kv_stride_(setting.stride(op.k)),
        longest_(op.heads) {
    const auto padded = [](int64_t n) { return (n + 31) / 32 * 32; };
    head_.keys = op.k.shape.rows();
    head_.padded_keys = padded(head_.keys);
    head_.d = op.q.shape.channels / op.heads;
    head_.padded_d = padded(head_.d);
    part_ = head_.padded_keys * head_.padded_d;
    thread_bytes_ = Align(simd::AmxScratchBytes(head_));
  }

  size_t scratch_bytes() const override { return op_.heads * part_ * 4 + threads_ * thread_bytes_; }

  void Bind(const Binder& binder) override {
    q_ = binder.Of(op_.q);
    k_ = binder.Of(op_.k);
    v_ = binder.Of(op_.v);
    y_ = binder.Of(op_.y);
    scratch_ = binder.Scratch();
  }

  void Run(const dnnl::stream&) override {
    const auto* q = reinterpret_cast<const uint16_t*>(q_.get());
    const auto* k = reinterpret_cast<const uint16_t*>(k_.get());
    const auto* v = reinterpret_cast<const uint16_t*>(v_.get());
    auto* y = reinterpret_cast<uint16_t*>(y_.get());
    ParallelFor(op_.heads, threads_, [&](int64_t head, int) {
      longest_[head] = simd::AmxPackHead(k + head * head_.d, v + head * head_.d, kv_stride_, Head(head));
    });
    const int64_t rows = op_.q.shape.rows();
    const int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
    const int64_t y_stride = op_.y.shape.channels;
    const float scale = 1.0f / std::sqrt(static_cast<float>(head_.d));
    ParallelFor(op_.heads * blocks, threads_, [&](int64_t index, int thread) {
      const int64_t head = index / blocks;
      const int64_t first = index % blocks * kBlockRows;
      const simd::AmxOptions options = {std::min(kBlockRows, rows - first), q_stride_, y_stride,
                                        scale};
      simd::AmxAttend(q + first * q_stride_ + head * head_.d, Head(head), options,
                      scratch_ + op_.heads * part_ * 4 + thread * thread_bytes_,
                      y + first * y_stride + head * head_.d);
    });
  }

 private:
  simd::AmxHead Head(int64_t head) const {
    simd::AmxHead packed = head_;
    packed.k = reinterpret_cast<uint16_t*>(scratch_) + head * 2 * part_;
    packed.v = packed.k + part_;
    packed.longest = longest_[head];
    return packed;
  }

  static constexpr int64_t kBlockRows = 128;  // of a head, that a thread takes at a time

  AttentionOp op_;
  int threads_;
  int64_t q_stride_, kv_stride_;
  std::vector<float> longest_;  // [heads]: keys
  simd::AmxHead head_;
  int64_t part_;  // elements of a packed head's keys, and of its values
  int64_t thread_bytes_;
  Place q_, k_, v_, y_;
  char* scratch_ = nullptr;
};

}  // namespace

std::unique_ptr<Step> MakeAmxAttention(const Setting& setting, const AttentionOp& op) {
  return std::make_unique<AmxAttentionStep>(setting, op);
}

}  // namespace tiltshift::engine::cpu
