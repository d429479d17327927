// y = softmax(scale q k^T) v for d = 512: see attention.h.
//
// 64 queries by eight warps; sums of 64 x 512 fill half of a multiprocessor's registers, so a block
// of 64 keys is worked on in two ways. Scores: warps are 2 x 4, each 32 queries x 16 keys over all
// of d. Then the rows' maxima meet in shared memory, and so do the weights, rounded to T. Values: a
// warp has all 64 queries and its own 64 columns of d (32 of each half).
//
// Shared memory, 97 KB: q 64, weights 8, maxima and factors 1.25, and a ring of three pieces of 8:
// 64 keys x 64 numbers of d of k, or 16 keys x 256 of v. A block of keys is 8 pieces of k and 8 of
// v, each 16 mma.sync a warp, one barrier a piece.
//
// Per query and key 2048 FLOPs and one exponential. A block reads all of k and v, 2 KB a key: 64
// FLOPs a byte from L2, which limits an H100 (5.5 TB/s, computed) to about 350 TFLOP/s. Registers
// (sm_90): 224, none spilled. Errors: see testing/attention_case.cc. Time (H200):
// 401 us of 4096 keys, 86 TFLOP/s.
#include <cmath>

#include "kernels/attention.cuh"
#include "kernels/attention_wide.h"
#include "kernels/launch.h"

namespace tiltshift::kernels {
namespace {

constexpr int kQueries = 64, kKeys = 64, kThreads = 256;
constexpr int kDimChunks = kWideDim / kChunk;
constexpr int kRowTiles = kQueries / 16;
constexpr int kKeyWarps = 4;  // side by side over a block's keys, for the scores
constexpr int kPieceDim = 64, kPieceKeys = 16, kHalfDim = kWideDim / 2;
constexpr int kKeyPieces = kWideDim / kPieceDim, kValuePieces = 2 * (kKeys / kPieceKeys);
constexpr int kPieces = kKeyPieces + kValuePieces;
constexpr int kPieceBytes = kKeys * kPieceDim * 2, kStages = 3;
static_assert(kPieceBytes == kPieceKeys * kHalfDim * 2);

constexpr int kWeightsAt = kQueries * kWideDim * 2;
constexpr int kRingAt = kWeightsAt + kQueries * kKeys * 2;
constexpr int kPartsAt = kRingAt + kStages * kPieceBytes;  // [kQueries, kKeyWarps] floats
constexpr int kFactorsAt = kPartsAt + kQueries * kKeyWarps * 4;
constexpr int kSharedBytes = kFactorsAt + kQueries * 4;
static_assert(kSharedBytes <= 99 << 10);

template <class T>
class WideBlock {
 public:
  __device__ __forceinline__ explicit WideBlock(const AttentionArguments<T>& p)
      : p_(p),
        head_(p),
        first_query_(BlockIndex().x * kQueries),
        blocks_((p.shape.keys + kKeys - 1) / kKeys),
        row_(Warp() / kKeyWarps * 32),
        key_warp_(Warp() % kKeyWarps) {}

  __device__ __forceinline__ void Run() {
    CopyRows<kDimChunks, kQueries, kThreads>(Shared<T>(0), head_.q, p_.q_stride, first_query_,
                                             p_.shape.queries, ThreadIndex().x);
    Issue();
    Issue();
    Begin();
    for (int block = 0; block < blocks_; ++block) {
      float s[2][2][4];
      Score(s);
      Weigh(s, block * kKeys);
      AddValues();
    }
    Finish();
  }

 private:
  // Copies of the next piece, in the order of their use; nothing after the last.
  __device__ __forceinline__ void Issue() {
    if (block_ < blocks_) {
      const SharedPtr<T> to = Shared<T>(kRingAt + free_stage_ * kPieceBytes);
      const int first = block_ * kKeys, thread = ThreadIndex().x;
      if (piece_ < kKeyPieces) {
        CopyRows<kPieceDim / kChunk, kKeys, kThreads>(to, head_.k + piece_ * kPieceDim, p_.k_stride,
                                                      first, p_.shape.keys, thread);
      } else {
        const int step = (piece_ - kKeyPieces) / 2, half = piece_ % 2;
        CopyRows<kHalfDim / kChunk, kPieceKeys, kThreads>(to, head_.v + half * kHalfDim,
                                                          p_.v_stride, first + step * kPieceKeys,
                                                          p_.shape.keys, thread);
      }
    }
    CommitCopies();
    free_stage_ = free_stage_ + 1 == kStages ? 0 : free_stage_ + 1;
    if (++piece_ == kPieces) {
      piece_ = 0;
      ++block_;
    }
  }

  // The next piece, there for all warps; the one before it is read to the end.
  __device__ __forceinline__ SharedPtr<T> Take() {
    WaitCopies<kStages - 2>();
    SyncThreads();
    Issue();
    const SharedPtr<T> piece = Shared<T>(kRingAt + stage_ * kPieceBytes);
    stage_ = stage_ + 1 == kStages ? 0 : stage_ + 1;
    return piece;
  }

  // visit(m, half) for the rows that a lane has of the scores, or of y: 16 m + lane / 4 + 8 half.
  template <int kTiles, class Visit>
  static __device__ __forceinline__ void ForRows(const Visit& visit) {
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) visit(m, half);
    }
  }
  // visit(m, half, sum) for all sums of y.
  template <class Visit>
  __device__ __forceinline__ void ForSums(const Visit& visit) {
#pragma unroll
    for (int side = 0; side < 2; ++side) {
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (int n = 0; n < 4; ++n) {
#pragma unroll
          for (int i = 0; i < 4; ++i) visit(m, i / 2, y_[side][m][n][i]);
        }
      }
    }
  }

  __device__ __forceinline__ void Begin() {
    ForRows<2>([&](int m, int half) {
      top_[m][half] = -INFINITY;
      sum_[m][half] = 0;
    });
    ForSums([](int, int, float& sum) { sum = 0; });
  }

  // 32 queries x 16 keys.
  __device__ __forceinline__ void Score(float (&s)[2][2][4]) {
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int n = 0; n < 2; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) s[m][n][i] = 0;
      }
    }
    const int lane = Lane();
#pragma unroll 1
    for (int piece = 0; piece < kKeyPieces; ++piece) {
      const SharedPtr<T> keys = Take();
      const SharedPtr<T> queries = Shared<T>(0) + piece * kPieceDim;
#pragma unroll
      for (int step = 0; step < kPieceDim / 16; ++step) {
        SharedPtr<T> q_rows[2], k_rows[1];
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          q_rows[m] =
              queries + PlaceInRows<kDimChunks>(row_ + 16 * m + lane % 16, 2 * step + lane / 16);
        }
        k_rows[0] = keys + PlaceInRows<kPieceDim / kChunk>(
                               16 * key_warp_ + lane / 16 * 8 + lane % 8, 2 * step + lane / 8 % 2);
        uint32_t q[2][4], k[1][4];
        LoadMatrices<false>(q_rows, q);
        LoadMatrices<false>(k_rows, k);
        MultiplyAccumulate<T>(s, q, k);
      }
    }
  }

  // Scores to weights, in shared memory; and how the sums must be rescaled for them: as in
  // QueryRows (attention.cuh), but that four warps share a row.
  __device__ __forceinline__ void Weigh(float (&s)[2][2][4], int first_key) {
    const int lane = Lane();
    const SharedPtr<float> parts = Shared<float>(kPartsAt), factors = Shared<float>(kFactorsAt);
    const SharedPtr<T> weights = Shared<T>(kWeightsAt);
    ForRows<2>([&](int m, int half) {
      float most = -INFINITY;
#pragma unroll
      for (int n = 0; n < 2; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& score = s[m][n][2 * half + i];
          const int key = first_key + 16 * key_warp_ + 8 * n + lane % 4 * 2 + i;
          if (key >= p_.shape.keys) score = -INFINITY;
          most = fmaxf(most, score);
        }
      }
      most = fmaxf(most, ShuffleXor(most, 1));
      most = fmaxf(most, ShuffleXor(most, 2));
      if (lane % 4 == 0) Store(parts + (RowOf(m, half) * kKeyWarps + key_warp_), most);
    });
    SyncThreads();
    ForRows<2>([&](int m, int half) {
      const int row = RowOf(m, half);
      const Floats4 four = Load<Floats4>(parts + row * kKeyWarps);
      const float highest = p_.scale * fmaxf(fmaxf(four.value[0], four.value[1]),
                                             fmaxf(four.value[2], four.value[3]));
      const bool raise = highest > top_[m][half] + kHighestWeight;
      const float factor = raise ? Exp2(top_[m][half] - highest) : 1.0f;
      if (raise) top_[m][half] = highest;
      if (key_warp_ == 0 && lane % 4 == 0) Store(factors + row, factor);
      sum_[m][half] *= factor;
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        const float low = Exp2(s[m][n][2 * half] * p_.scale - top_[m][half]);
        const float high = Exp2(s[m][n][2 * half + 1] * p_.scale - top_[m][half]);
        sum_[m][half] += low + high;
        Store(weights + (PlaceInRows<kKeys / kChunk>(row, 2 * key_warp_ + n) + lane % 4 * 2),
              PackPair<T>(low, high));
      }
    });
  }

  // All queries x the warp's columns.
  __device__ __forceinline__ void AddValues() {
    const int lane = Lane();
#pragma unroll 1
    for (int step = 0; step < kKeys / kPieceKeys; ++step) {
      uint32_t weights[kRowTiles][4];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const SharedPtr<T> values = Take();
        if (half == 0) {
          if (step == 0) Rescale();
          SharedPtr<T> rows[kRowTiles];
#pragma unroll
          for (int m = 0; m < kRowTiles; ++m) {
            rows[m] = Shared<T>(kWeightsAt) +
                      PlaceInRows<kKeys / kChunk>(16 * m + lane % 16, 2 * step + lane / 16);
          }
          LoadMatrices<false>(rows, weights);
        }
        SharedPtr<T> rows[2];
#pragma unroll
        for (int n = 0; n < 2; ++n) {
          rows[n] =
              values + PlaceInRows<kHalfDim / kChunk>(lane % 16, 4 * Warp() + 2 * n + lane / 16);
        }
        uint32_t v[2][4];
        LoadMatrices<true>(rows, v);
        MultiplyAccumulate<T>(y_[half], weights, v);
      }
    }
  }

  __device__ __forceinline__ void Rescale() {
    float factor[kRowTiles][2];
    bool some = false;
    ForRows<kRowTiles>([&](int m, int half) {
      factor[m][half] = Load(Shared<float>(kFactorsAt) + (16 * m + Lane() / 4 + 8 * half));
      some = some || factor[m][half] != 1;
    });
    if (Any(some)) Multiply(factor);
  }

  __device__ __forceinline__ void Multiply(const float (&factor)[kRowTiles][2]) {
    ForSums([&](int m, int half, float& sum) { sum *= factor[m][half]; });
  }

  // Divides by the sums, and sends the rows away through q's place.
  __device__ __forceinline__ void Finish() {
    const SharedPtr<float> parts = Shared<float>(kPartsAt);
    ForRows<2>([&](int m, int half) {
      float sum = sum_[m][half];
      sum += ShuffleXor(sum, 1);
      sum += ShuffleXor(sum, 2);
      if (Lane() % 4 == 0) Store(parts + (RowOf(m, half) * kKeyWarps + key_warp_), sum);
    });
    WaitCopies<0>();
    SyncThreads();
    float factor[kRowTiles][2];
    ForRows<kRowTiles>([&](int m, int half) {
      const Floats4 four = Load<Floats4>(parts + (16 * m + Lane() / 4 + 8 * half) * kKeyWarps);
      factor[m][half] = 1.0f / (four.value[0] + four.value[1] + four.value[2] + four.value[3]);
    });
    Multiply(factor);
    const SharedPtr<T> rows = Shared<T>(0);
#pragma unroll
    for (int side = 0; side < 2; ++side) {
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (int n = 0; n < 4; ++n) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int row = 16 * m + Lane() / 4 + 8 * half;
            const int chunk = (kHalfDim * side) / kChunk + 4 * Warp() + n;
            const float* pair = &y_[side][m][n][2 * half];
            Store(rows + (PlaceInRows<kDimChunks>(row, chunk) + Lane() % 4 * 2),
                  PackPair<T>(pair[0], pair[1]));
          }
        }
      }
    }
    SyncThreads();
    const GlobalPtr<T> y = head_.y + first_query_ * p_.y_stride;
    for (int id = ThreadIndex().x; id < kQueries * kDimChunks; id += kThreads) {
      const int row = id / kDimChunks, chunk = id % kDimChunks;
      if (first_query_ + row >= p_.shape.queries) break;
      Store(y + (row * p_.y_stride + chunk * kChunk),
            Load<Words4>(rows + PlaceInRows<kDimChunks>(row, chunk)));
    }
  }

  // Of the scores' rows.
  __device__ __forceinline__ int RowOf(int m, int half) const {
    return row_ + 16 * m + Lane() / 4 + 8 * half;
  }

  const AttentionArguments<T>& p_;
  const Head<T> head_;
  const int first_query_, blocks_;
  const int row_, key_warp_;                    // of this warp's scores
  int block_ = 0, piece_ = 0, free_stage_ = 0;  // of the next copies
  int stage_ = 0;                               // of the next piece to use
  float top_[2][2], sum_[2][2];
  float y_[2][kRowTiles][4][4];  // columns 32 warp to 32 warp + 31 of each half
};

// Grid: query tiles, heads, samples.
template <class T>
__global__ void __launch_bounds__(kThreads, 1) WideKernel(AttentionArguments<T> p) {
  WideBlock<T>(p).Run();
}

}  // namespace

template <class T>
cudaError_t WideAttention(cudaStream_t stream, const AttentionArguments<T>& arguments) {
  if (arguments.shape.causal) return cudaErrorInvalidValue;
  AttentionArguments<T> p = arguments;
  p.scale *= kLog2E;
  const LaunchShape shape = {
      .grid = {static_cast<unsigned>((p.shape.queries + kQueries - 1) / kQueries),
               static_cast<unsigned>(p.shape.heads), static_cast<unsigned>(p.shape.batch)},
      .block = {kThreads},
      .shared_bytes = kSharedBytes};
  return Launch<&WideKernel<T>>(stream, shape, p);
}

template cudaError_t WideAttention(cudaStream_t, const AttentionArguments<Bf16>&);
#ifndef TILTSHIFT_BF16_ONLY
template cudaError_t WideAttention(cudaStream_t, const AttentionArguments<Fp16>&);
#endif

}  // namespace tiltshift::kernels
