// What a warp does in attention: its query rows against blocks of keys in shared memory.
//
// Rows of d numbers lie in shared memory without gaps, cut into chunks of 16 bytes. Chunk c of row
// r is at place c ^ swizzle(r) of its row, where the swizzle changes as often as rows of that
// length come to lie on the same banks: never for an odd number of chunks, every row for 8. Then
// both the eight rows that an ldmatrix pass reads and the eight chunks that a pass of copies writes
// lie in different banks.
#pragma once

#include <numeric>

#include "kernels/attention.h"
#include "kernels/device.h"

namespace tiltshift::kernels {

// Where a chunk of a row of kChunks lies, in numbers. kTogether chunks change places with each
// other.
template <int kChunks, int kTogether = std::gcd(kChunks, 8)>
__device__ __forceinline__ int PlaceInRows(int row, int chunk) {
  return (row * kChunks + (chunk ^ (row / (8 / kTogether) % kTogether))) * kChunk;
}

template <int kDim_, int kRowTiles_, int kWarps_, int kKeys_>
struct AttentionTile {
  static constexpr int kDim = kDim_;
  static constexpr int kRowTiles = kRowTiles_;  // of 16 query rows, a warp's
  static constexpr int kWarps = kWarps_;
  static constexpr int kKeys = kKeys_;  // in a block of keys
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kWarpQueries = 16 * kRowTiles, kQueries = kWarps * kWarpQueries;
  static constexpr int kChunks = kDim / kChunk;
  // q k^T goes 16 numbers of d at a time, the last of them half zeros where d is no multiple of 16;
  // p v makes 8 columns of d at a time.
  static constexpr int kDimSteps = (kDim + 15) / 16, kDimTiles = kDim / 8;
  static constexpr int kKeySteps = kKeys / 16, kKeyTiles = kKeys / 8;
  static constexpr bool kHalfStep = kDim % 16 != 0;
  static constexpr int kKeysBytes = kKeys * kDim * 2, kQueriesBytes = kQueries * kDim * 2;
  static_assert(kDim % kChunk == 0 && kKeys % 16 == 0);

  static __device__ __forceinline__ int At(int row, int chunk) {
    return PlaceInRows<kChunks>(row, chunk);
  }
};

// Weights are 2^(scale s - top). top is a row's maximum when it was last raised, which is when a
// weight would come out above 2 to this: any top gives the same y, and sums that need no rescaling
// are cheaper.
inline constexpr float kHighestWeight = 8;

// Rows that `threads` threads copy at once, each a chunk: as many as leave all of them equally many
// copies.
constexpr int RowsAtOnce(int rows, int chunks, int threads) {
  int at_once = threads / chunks;
  while (rows % at_once != 0) --at_once;
  return at_once;
}

// Rows [first, first + kRows) of a tensor, kChunks of each, into shared memory by kThreads threads,
// of which this is `thread`; rows from `rows` on are zeros.
template <int kChunks, int kRows, int kThreads, class T,
          int kRowsAtOnce = RowsAtOnce(kRows, kChunks, kThreads)>
__device__ __forceinline__ void CopyRows(SharedPtr<T> to, GlobalPtr<const T> from, int64_t stride,
                                         int first, int rows, int thread) {
  const int row = thread / kChunks, chunk = thread % kChunks;
  if (row >= kRowsAtOnce) return;
  const GlobalPtr<const T> at = from + ((int64_t{first} + row) * stride + chunk * kChunk);
#pragma unroll
  for (int i = 0; i < kRows; i += kRowsAtOnce) {
    const bool valid = first + row + i < rows;
    CopyAsync16(to + PlaceInRows<kChunks>(row + i, chunk), at + (valid ? i * stride : 0), valid);
  }
}

// A warp's query rows and what their softmax has come to. Lane l has rows l / 4 and l / 4 + 8 of
// each tile of 16, and of those columns 2 (l % 4) and the next of every 8.
template <class T, class Tile>
class QueryRows {
 public:
  // `tile`: the rows in shared memory. Nothing is seen of any key yet.
  __device__ __forceinline__ void Begin(SharedPtr<T> tile) {
#pragma unroll
    for (int step = 0; step < Tile::kDimSteps; ++step) {
      SharedPtr<T> rows[Tile::kRowTiles];
#pragma unroll
      for (int m = 0; m < Tile::kRowTiles; ++m) {
        rows[m] =
            tile + (16 * m * Tile::kDim + Tile::At(Lane() % 16, DimChunk(2 * step + Lane() / 16)));
      }
      LoadMatrices<false>(rows, q_[step]);
    }
#pragma unroll
    for (int m = 0; m < Tile::kRowTiles; ++m) {
      // Of the last half step q is zero, and k what it is.
      if (Tile::kHalfStep) q_[Tile::kDimSteps - 1][m][2] = q_[Tile::kDimSteps - 1][m][3] = 0;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        top_[m][half] = -INFINITY;
        sum_[m][half] = 0;
      }
#pragma unroll
      for (int n = 0; n < Tile::kDimTiles; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) y_[m][n][i] = 0;
      }
    }
  }

  // Adds a block of keys. `hide(key, row)`: of the block's keys and the warp's rows, which pairs do
  // not count; it is asked only where `some_hidden`.
  template <class Hide>
  __device__ __forceinline__ void Add(SharedPtr<T> keys, SharedPtr<T> values, float scale,
                                      bool some_hidden, const Hide& hide) {
    float s[Tile::kRowTiles][Tile::kKeyTiles][4];
    Score(keys, s);
    if (some_hidden) {
#pragma unroll
      for (int m = 0; m < Tile::kRowTiles; ++m) {
#pragma unroll
        for (int n = 0; n < Tile::kKeyTiles; ++n) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            if (hide(8 * n + Lane() % 4 * 2 + i % 2, 16 * m + Lane() / 4 + i / 2 * 8))
              s[m][n][i] = -INFINITY;
          }
        }
      }
    }
    RaiseTop(s, scale);
    AddValues(values, s, scale);
  }

  // The rows of y, rounded, into shared memory in the places of q's rows.
  __device__ __forceinline__ void End(SharedPtr<T> tile) {
#pragma unroll
    for (int m = 0; m < Tile::kRowTiles; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float sum = sum_[m][half];
        sum += ShuffleXor(sum, 1);
        sum += ShuffleXor(sum, 2);
        const float factor = 1.0f / sum;
#pragma unroll
        for (int n = 0; n < Tile::kDimTiles; ++n) {
          Store(tile + (16 * m * Tile::kDim + Tile::At(Lane() / 4 + 8 * half, n) + Lane() % 4 * 2),
                PackPair<T>(y_[m][n][2 * half] * factor, y_[m][n][2 * half + 1] * factor));
        }
      }
    }
  }

 private:
  static __device__ __forceinline__ int DimChunk(int chunk) {
    return Tile::kHalfStep && chunk == Tile::kChunks ? Tile::kChunks - 1 : chunk;
  }

  // s = q k^T. k's rows are B's columns: lanes 0-15 name two chunks of 8 keys, 16-31 of the next 8.
  __device__ __forceinline__ void Score(SharedPtr<T> keys,
                                        float (&s)[Tile::kRowTiles][Tile::kKeyTiles][4]) {
#pragma unroll
    for (int m = 0; m < Tile::kRowTiles; ++m) {
#pragma unroll
      for (int n = 0; n < Tile::kKeyTiles; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) s[m][n][i] = 0;
      }
    }
    uint32_t k[2][Tile::kKeySteps][4];
    const auto load = [&](int step) {
      SharedPtr<T> rows[Tile::kKeySteps];
#pragma unroll
      for (int n = 0; n < Tile::kKeySteps; ++n) {
        rows[n] = keys + (16 * n * Tile::kDim + Tile::At(Lane() / 16 * 8 + Lane() % 8,
                                                         DimChunk(2 * step + Lane() / 8 % 2)));
      }
      LoadMatrices<false>(rows, k[step % 2]);
    };
    load(0);
#pragma unroll
    for (int step = 0; step < Tile::kDimSteps; ++step) {
      if (step + 1 < Tile::kDimSteps) load(step + 1);
      MultiplyAccumulate<T>(s, q_[step], k[step % 2]);
    }
  }

  __device__ __forceinline__ void RaiseTop(const float (&s)[Tile::kRowTiles][Tile::kKeyTiles][4],
                                           float scale) {
    float highest[Tile::kRowTiles][2];
    bool raise = false;
#pragma unroll
    for (int m = 0; m < Tile::kRowTiles; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float most = fmaxf(s[m][0][2 * half], s[m][0][2 * half + 1]);
#pragma unroll
        for (int n = 1; n < Tile::kKeyTiles; ++n) {
          most = fmaxf(most, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
        }
        most = fmaxf(most, ShuffleXor(most, 1));
        most = fmaxf(most, ShuffleXor(most, 2)) * scale;
        highest[m][half] = most;
        raise = raise || most > top_[m][half] + kHighestWeight;
      }
    }
    if (!Any(raise)) return;
#pragma unroll
    for (int m = 0; m < Tile::kRowTiles; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const bool mine = highest[m][half] > top_[m][half] + kHighestWeight;
        const float factor = mine ? Exp2(top_[m][half] - highest[m][half]) : 1.0f;
        if (mine) top_[m][half] = highest[m][half];
        sum_[m][half] *= factor;
#pragma unroll
        for (int n = 0; n < Tile::kDimTiles; ++n) {
          y_[m][n][2 * half] *= factor;
          y_[m][n][2 * half + 1] *= factor;
        }
      }
    }
  }

  // y += p v, 16 keys at a time; p of the scores' registers is already in the places of A. v's rows
  // are B's rows, so they come transposed: lanes 0-15 name 16 keys' chunk, 16-31 their next one.
  __device__ __forceinline__ void AddValues(SharedPtr<T> values,
                                            float (&s)[Tile::kRowTiles][Tile::kKeyTiles][4],
                                            float scale) {
    constexpr int kPairs = (Tile::kDimTiles + 1) / 2;
    uint32_t v[2][kPairs][4];
    const auto load = [&](int step) {
      SharedPtr<T> rows[kPairs];
#pragma unroll
      for (int n = 0; n < kPairs; ++n) {
        rows[n] = values +
                  (16 * step * Tile::kDim + Tile::At(Lane() % 16, DimChunk(2 * n + Lane() / 16)));
      }
      LoadMatrices<true>(rows, v[step % 2]);
    };
    load(0);
#pragma unroll
    for (int step = 0; step < Tile::kKeySteps; ++step) {
      if (step + 1 < Tile::kKeySteps) load(step + 1);
      uint32_t p[Tile::kRowTiles][4];
#pragma unroll
      for (int m = 0; m < Tile::kRowTiles; ++m) {
#pragma unroll
        for (int tile = 0; tile < 2; ++tile) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const float* pair = &s[m][2 * step + tile][2 * half];
            const float low = Exp2(pair[0] * scale - top_[m][half]);
            const float high = Exp2(pair[1] * scale - top_[m][half]);
            sum_[m][half] += low + high;
            p[m][2 * tile + half] = PackPair<T>(low, high);
          }
        }
      }
      MultiplyAccumulate<T>(y_, p, v[step % 2]);
    }
  }

  uint32_t q_[Tile::kDimSteps][Tile::kRowTiles][4];
  float y_[Tile::kRowTiles][Tile::kDimTiles][4];
  float top_[Tile::kRowTiles][2], sum_[Tile::kRowTiles][2];
};

// The tensors at one sample and head.
template <class T>
struct Head {
  __device__ __forceinline__ explicit Head(const AttentionArguments<T>& p)
      : q(p.q), k(p.k), v(p.v), y(p.y) {
    const int64_t sample = BlockIndex().z;
    const int64_t channel = int64_t{BlockIndex().y} * p.shape.head_dim;
    const int64_t key_row = sample * p.shape.keys, query_row = sample * p.shape.queries;
    int64_t offset = 0;
    if (p.key_offsets != nullptr) offset = Load(GlobalPtr(p.key_offsets) + sample);
    q = q + (query_row * p.q_stride + channel);
    y = y + (query_row * p.y_stride + channel);
    k = k + ((p.key_offsets != nullptr ? offset : key_row * p.k_stride) + channel);
    v = v + ((p.key_offsets != nullptr ? offset : key_row * p.v_stride) + channel);
  }

  GlobalPtr<const T> q, k, v;
  GlobalPtr<T> y;
};

// A warp's rows of y from shared memory to the card's, those before `rows` alone.
template <class Tile, class T>
__device__ __forceinline__ void WriteRows(SharedPtr<T> tile, GlobalPtr<T> to, int64_t stride,
                                          int rows) {
  constexpr int kAll = Tile::kWarpQueries * Tile::kChunks;
#pragma unroll
  for (int i = 0; i < (kAll + 31) / 32; ++i) {
    const int id = i * 32 + Lane();
    const int row = id / Tile::kChunks, chunk = id % Tile::kChunks;
    if (row < rows && id < kAll) {
      Store(to + (row * stride + chunk * kChunk), Load<Words4>(tile + Tile::At(row, chunk)));
    }
  }
}

}  // namespace tiltshift::kernels
