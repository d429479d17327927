// Attention. A head dim that has no tiles of its own is computed with the next one that has: heads
// are copied apart, zeros behind each, and their outputs back. That is for small and unusual
// models; the copies are one a head.
#include <algorithm>
#include <cmath>

#include "engine/cuda/card_steps.h"
#include "kernels/attention.h"
#include "kernels/elementwise.h"

namespace tiltshift::engine::cuda {
namespace {

int HeadDimOf(const AttentionOp& op) { return op.q.shape.channels / op.heads; }

// The next head dim with tiles; its own where none is as large.
int TiledDimFor(int head_dim) {
  const auto* found = std::ranges::lower_bound(kernels::kHeadDims, head_dim);
  return found == std::end(kernels::kHeadDims) ? head_dim : *found;
}

// Heads of `tiled_dim` side by side.
int64_t SpreadNumbers(const AttentionOp& op, const Value& value, int batch) {
  return batch * value.shape.rows() * op.heads * TiledDimFor(HeadDimOf(op));
}

template <class T>
class Maker {
 public:
  Maker(const Setting& setting, const AttentionOp& op, int node, std::vector<Step>& steps)
      : setting_(setting), op_(op), node_(node), steps_(steps) {
    const int head_dim = HeadDimOf(op);
    p_.shape = {.batch = setting.layout.batch(),
                .heads = op.heads,
                .head_dim = TiledDimFor(head_dim),
                .queries = static_cast<int>(op.q.shape.rows()),
                .keys = static_cast<int>(op.k.shape.rows()),
                .causal = op.causal};
    p_.scale = 1 / std::sqrt(static_cast<float>(head_dim));
    spread_ = p_.shape.head_dim != head_dim;
  }

  void Make() {
    if (spread_) ClearScratch();
    p_.q = In(op_.q, &p_.q_stride);
    p_.k = In(op_.k, &p_.k_stride);
    p_.v = In(op_.v, &p_.v_stride);
    p_.y = spread_ ? TakeScratch(op_.y) : setting_.At<T>(op_.y);
    p_.y_stride = spread_ ? SpreadStride() : setting_.layout.Stride(op_.y);
    Add([p = p_](cudaStream_t stream) { return kernels::Attention<T>(stream, p); });
    if (!spread_) return;
    CopyHeads(setting_.rows(op_.y), {p_.y, p_.shape.head_dim, p_.y_stride},
              {setting_.At<T>(op_.y), HeadDimOf(op_), setting_.layout.Stride(op_.y)});
  }

 private:
  struct Heads {
    T* first;
    int apart;  // numbers from a head to the next
    int64_t stride;
  };

  template <class Launch>
  void Add(Launch launch) {
    steps_.push_back({node_, launch});
  }
  int64_t SpreadStride() const { return int64_t{op_.heads} * p_.shape.head_dim; }

  T* TakeScratch(const Value& value) {
    T* taken = reinterpret_cast<T*>(setting_.scratch) + used_;
    used_ += SpreadNumbers(op_, value, setting_.layout.batch());
    return taken;
  }
  void ClearScratch() {
    const size_t bytes = AttentionScratch(op_, setting_.layout.batch());
    Add([to = setting_.scratch, bytes](cudaStream_t stream) {
      return cudaMemsetAsync(to, 0, bytes, stream);
    });
  }

  const T* In(const Value& value, int64_t* stride) {
    *stride = setting_.layout.Stride(value);
    if (!spread_) return setting_.At<const T>(value);
    T* to = TakeScratch(value);
    CopyHeads(setting_.rows(value), {setting_.At<T>(value), HeadDimOf(op_), *stride},
              {to, p_.shape.head_dim, SpreadStride()});
    *stride = SpreadStride();
    return to;
  }

  void CopyHeads(int rows, const Heads& from, const Heads& to) {
    for (int head = 0; head < op_.heads; ++head) {
      const kernels::MapArguments<T, T> p = {.rows = rows,
                                             .channels = HeadDimOf(op_),
                                             .x = from.first + head * from.apart,
                                             .x_stride = from.stride,
                                             .y = to.first + head * to.apart,
                                             .y_stride = to.stride};
      Add([p](cudaStream_t stream) { return kernels::Map<T, T>(stream, p); });
    }
  }

  const Setting& setting_;
  const AttentionOp& op_;
  const int node_;
  std::vector<Step>& steps_;
  kernels::AttentionArguments<T> p_;
  bool spread_ = false;
  int64_t used_ = 0;  // of the scratch
};

}  // namespace

template <class T>
absl::Status AddAttention(const Setting& setting, const AttentionOp& op, int node,
                          std::vector<Step>& steps) {
  Maker<T>(setting, op, node, steps).Make();
  return absl::OkStatus();
}
template absl::Status AddAttention<kernels::Bf16>(const Setting&, const AttentionOp&, int,
                                                  std::vector<Step>&);
template absl::Status AddAttention<kernels::Fp16>(const Setting&, const AttentionOp&, int,
                                                  std::vector<Step>&);

size_t AttentionScratch(const AttentionOp& op, int batch) {
  if (TiledDimFor(HeadDimOf(op)) == HeadDimOf(op)) return 0;
  int64_t numbers = 0;
  for (const Value* value : {&op.q, &op.k, &op.v, &op.y}) {
    numbers += SpreadNumbers(op, *value, batch);
  }
  return numbers * sizeof(uint16_t);
}

}  // namespace tiltshift::engine::cuda
