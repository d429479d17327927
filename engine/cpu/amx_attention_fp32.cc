// Attention in fp32 on AMX tiles: both products as those of bf16 terms (simd/amx_product.h), the softmax between them
// in floats.
//
// Keys and values are packed once a head, as weights are. Then blocks of 64 queries run on their own: their scores with
// all keys, which stay in the second-level cache; their weights; and those times the values, kKeyBlock keys at a time,
// added to what the blocks before gave. Every sum has one order, whatever the threads (I4).
#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "engine/cpu/amx_product_step.h"
#include "engine/cpu/parallel.h"

namespace tiltshift::engine::cpu {
namespace {

constexpr int64_t kRows = 64;       // queries a block
constexpr int64_t kKeyBlock = 256;  // keys whose weights are split at a time
constexpr simd::PanelLayout kLayout = {.terms = simd::kSplitTerms};
constexpr int64_t kStepElements = kLayout.elements(1);

int64_t Padded(int64_t n) { return (n + 31) / 32 * 32; }

// Where term 0 of element k of column n lies in panels of `steps` steps, the next term kTermElements on.
constexpr int64_t kTermElements = simd::kStepDepth * simd::kPanelColumns;
int64_t PlaceOf(int64_t n, int64_t k, int64_t steps) {
  return (n / 32 * steps + k / 32) * kStepElements + n % 32 / 16 * 512 + k % 32 / 2 * 32 + n % 16 * 2 + k % 2;
}

class AmxFloatAttentionStep : public Step {
 public:
  AmxFloatAttentionStep(const Setting& setting, const AttentionOp& op)
      : op_(op),
        kernels_(setting.kernels),
        threads_(setting.threads),
        q_stride_(setting.stride(op.q)),
        kv_stride_(setting.stride(op.k)),
        keys_(op.k.shape.rows()),
        padded_keys_(Padded(keys_)),
        d_(op.q.shape.channels / op.heads),
        padded_d_(Padded(d_)) {
    for (int32_t at = 0; at < std::max(padded_d_, kKeyBlock); at += 32) steps_.push_back(at);
    for (int32_t row = 0; row < kRows; ++row) out_.push_back(row);
    for (int32_t tile = 0; tile < kRows / 16; ++tile) {
      query_tiles_.push_back(static_cast<int32_t>(tile * 16 * padded_d_));
      weight_tiles_.push_back(tile * 16 * static_cast<int32_t>(kKeyBlock));
    }
  }

  size_t scratch_bytes() const override { return op_.heads * HeadBytes() + threads_ * ThreadBytes(); }

  void Bind(const Binder& binder) override {
    q_ = binder.Of(op_.q);
    k_ = binder.Of(op_.k);
    v_ = binder.Of(op_.v);
    y_ = binder.Of(op_.y);
    scratch_ = binder.Scratch();
  }

  void Run(const dnnl::stream&) override {
    const int64_t key_blocks = (padded_keys_ + kKeyBlock - 1) / kKeyBlock;
    ParallelFor(op_.heads * key_blocks, threads_, [&](int64_t index, int) {
      PackKeys(index / key_blocks, index % key_blocks * kKeyBlock);
    });
    const int64_t blocks = (op_.q.shape.rows() + kRows - 1) / kRows;
    ParallelFor(op_.heads * blocks, threads_, [&](int64_t index, int thread) {
      Attend(index / blocks, index % blocks * kRows, scratch_ + op_.heads * HeadBytes() + thread * ThreadBytes());
    });
  }

 private:
  // Of a head: keys as columns of d, then values as columns of a block of keys, block by block.
  int64_t PartElements() const { return padded_keys_ * padded_d_ * simd::kSplitTerms; }
  size_t HeadBytes() const { return 2 * PartElements() * sizeof(uint16_t); }
  uint16_t* Keys(int64_t head) const { return reinterpret_cast<uint16_t*>(scratch_ + head * HeadBytes()); }
  uint16_t* Values(int64_t head, int64_t first_key) const {
    return Keys(head) + PartElements() + first_key * padded_d_ * simd::kSplitTerms;
  }

  struct Scratch {
    uint16_t* queries;  // [terms, kRows, padded_d]
    uint16_t* weights;  // [terms, kRows, kKeyBlock]
    float* scores;      // [kRows, padded_keys]
    float* sums;        // [kRows, padded_d]
  };
  size_t ThreadBytes() const {
    return kRows * (simd::kSplitTerms * (padded_d_ + kKeyBlock) * sizeof(uint16_t) +
                    (padded_keys_ + padded_d_) * sizeof(float));
  }
  Scratch ScratchAt(char* at) const {
    Scratch scratch;
    scratch.queries = reinterpret_cast<uint16_t*>(at);
    scratch.weights = scratch.queries + simd::kSplitTerms * kRows * padded_d_;
    scratch.scores = reinterpret_cast<float*>(scratch.weights + simd::kSplitTerms * kRows * kKeyBlock);
    scratch.sums = scratch.scores + kRows * padded_keys_;
    return scratch;
  }

  // kKeyBlock keys of a head and their values; what is padded is zero.
  void PackKeys(int64_t head, int64_t first) const {
    const int64_t keys = std::min(kKeyBlock, padded_keys_ - first), steps = padded_d_ / 32;
    uint16_t *k = Keys(head), *v = Values(head, first);
    std::vector<float> row(padded_d_);
    std::vector<uint16_t> terms(simd::kSplitTerms * padded_d_);
    const auto pack = [&](const Place& from, int64_t key, const auto& place) {
      const auto* floats = reinterpret_cast<const float*>(from.get()) + key * kv_stride_ + head * d_;
      if (key < keys_) std::copy_n(floats, d_, row.begin());
      if (key == keys_) std::fill(row.begin(), row.end(), 0.0f);
      simd::AmxSplit(row.data(), padded_d_, padded_d_, terms.data());
      for (int64_t c = 0; c < padded_d_; ++c) {
        uint16_t* to = place(c);
        for (int64_t t = 0; t < simd::kSplitTerms; ++t) to[t * kTermElements] = terms[t * padded_d_ + c];
      }
    };
    for (int64_t i = 0; i < keys; ++i) {
      pack(k_, first + i, [&](int64_t c) { return k + PlaceOf(first + i, c, steps); });
    }
    std::fill(row.begin(), row.end(), 0.0f);
    for (int64_t i = 0; i < keys; ++i) {
      pack(v_, first + i, [&](int64_t c) { return v + PlaceOf(c, i, keys / 32); });
    }
  }

  void Attend(int64_t head, int64_t first, char* at) const {
    const Scratch scratch = ScratchAt(at);
    const int64_t rows = std::min(kRows, op_.q.shape.rows() - first);
    SplitQueries(reinterpret_cast<const float*>(q_.get()) + first * q_stride_ + head * d_, rows, scratch);
    simd::AmxProduct scores = ProductOf(rows, query_tiles_, scratch.queries, padded_d_);
    scores.step_count = padded_d_ / 32;
    scores.b = Keys(head);
    scores.columns = padded_keys_;
    scores.y = scratch.scores;
    scores.y_stride = padded_keys_;
    Multiply(scores);

    float inverse[kRows];
    for (int64_t r = 0; r < rows; ++r) {
      inverse[r] = kernels_.softmax(scratch.scores + r * padded_keys_, keys_, padded_keys_);
    }
    for (int64_t key = 0; key < padded_keys_; key += kKeyBlock) AddValues(head, key, rows, scratch);
    const int64_t y_stride = op_.y.shape.channels;
    auto* y = reinterpret_cast<float*>(y_.get()) + first * y_stride + head * d_;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < d_; ++c) y[r * y_stride + c] = scratch.sums[r * padded_d_ + c] * inverse[r];
    }
  }

  void SplitQueries(const float* q, int64_t rows, const Scratch& scratch) const {
    const float scale = 1.0f / std::sqrt(static_cast<float>(d_));
    float* row = scratch.sums;  // free until the values are added up
    std::fill_n(row, padded_d_, 0.0f);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < d_; ++c) row[c] = q[r * q_stride_ + c] * scale;
      simd::AmxSplit(row, padded_d_, kRows * padded_d_, scratch.queries + r * padded_d_);
    }
  }

  void AddValues(int64_t head, int64_t key, int64_t rows, const Scratch& scratch) const {
    const int64_t keys = std::min(kKeyBlock, padded_keys_ - key);
    for (int64_t r = 0; r < rows; ++r) {
      simd::AmxSplit(scratch.scores + r * padded_keys_ + key, keys, kRows * kKeyBlock,
                     scratch.weights + r * kKeyBlock);
    }
    simd::AmxProduct values = ProductOf(rows, weight_tiles_, scratch.weights, kKeyBlock);
    values.step_count = keys / 32;
    values.b = Values(head, key);
    values.columns = padded_d_;
    values.y = scratch.sums;
    values.y_stride = padded_d_;
    values.residual = key > 0 ? scratch.sums : nullptr;
    values.residual_stride = padded_d_;
    Multiply(values);
  }

  simd::AmxProduct ProductOf(int64_t rows, const std::vector<int32_t>& tiles, const uint16_t* a, int64_t stride) const {
    simd::AmxProduct product;
    product.a = a;
    product.a_stride = stride;
    product.tiles = tiles.data();
    product.tile_count = (rows + 15) / 16;
    product.steps = steps_.data();
    product.last_rows = static_cast<int>((rows - 1) % 16 + 1);
    product.row_bytes = stride * 2 * simd::kSplitTerms;
    product.fp32 = true;
    product.a_term = kRows * stride;
    product.layout = kLayout;
    product.out = out_.data();
    return product;
  }
  static void Multiply(const simd::AmxProduct& product) {
    alignas(64) float sums[kRows * 32];
    TS_CHECK(simd::AmxSumFloats(product) <= kRows * 32);
    simd::AmxMultiply(product, {0, product.tile_count, 0, simd::PanelsFor(product.columns), sums});
  }

  AttentionOp op_;
  const simd::Kernels& kernels_;
  int threads_;
  int64_t q_stride_, kv_stride_;
  int64_t keys_, padded_keys_, d_, padded_d_;
  std::vector<int32_t> steps_, out_, query_tiles_, weight_tiles_;
  Place q_, k_, v_, y_;
  char* scratch_ = nullptr;
};

}  // namespace

std::unique_ptr<Step> MakeAmxFloatAttention(const Setting& setting, const AttentionOp& op) {
  return std::make_unique<AmxFloatAttentionStep>(setting, op);
}

}  // namespace tiltshift::engine::cpu
