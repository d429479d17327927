// y = softmax(scale q k^T) v for each head: see attention.h.
//
// FlashAttention-2 (Dao 2023) on mma.sync m16n8k16. Warps have query rows of their own, so that
// they meet only where keys arrive; scores and weights never leave registers. Head dims are native:
// d = 40 takes 3 steps of 16 for q k^T (the last one half zeros, which need no storage) and 5 tiles
// of 8 columns for p v, not the 64 that a padded kernel computes.
//
// SelfKernel: 128 queries (64 where d > 80) by four warps, blocks of 64 keys through two stages of
// shared memory, 512 d bytes: 20 KB at d = 40, 32 at 64, 80 at 160. CrossKernel, where all keys fit
// in up to three blocks of 80 (a text's 77; 154 and 231 of a prompt in two or three chunks) within
// 99 KB: they stay in shared memory while tiles of 64 queries pass, 256 + 320 d bytes a block. 80
// divides those by 64 keys less: 154 are padded to 160, not 192. From d = 128 on the second block,
// and from d = 80 on a fourth, does not fit.
//
// Per head 4 d FLOPs and one exponential a pair of query and key; at least 4 d bytes a query and a
// key. A multiprocessor of an H100 makes 16 exponentials a cycle, so 32 queries x 64 keys cost a
// quarter of it 512 cycles; their mma.sync cost about 570 at d = 40 and 830 at d = 64. Scores
// written to memory would cost 8 bytes a pair: at d = 40 and 4096 keys a hundred times the least.
//
// Registers (sm_90): self 168 at d = 40 (three blocks on a multiprocessor), 230 at 64, 253 at 80,
// 254 at 160 (two); cross 96, 128, 131, 219; none spilled. Errors: see testing/attention_case.cc,
// which is the reference too; the largest part is the weights' rounding to T. Time
// (H200): 188 us of 2 x 8 x 4096 x 40, 228 TFLOP/s; 266 us of 2 x 10 x 4096 x 64, 323 TFLOP/s.
#include <cmath>

#include "kernels/attention.cuh"
#include "kernels/attention_wide.h"
#include "kernels/launch.h"

namespace tiltshift::kernels {
namespace {

constexpr int kBlockKeys = 80, kMostBlocks = 3, kMostSharedBytes = 99 << 10;
constexpr int kWidestOfMany = 80;  // head dims of which more than one block fits

template <int kDim>
using SelfTile = AttentionTile<kDim, kDim <= 80 ? 2 : 1, 4, 64>;
template <int kDim>
using CrossTile = AttentionTile<kDim, 1, 4, kBlockKeys>;

// Grid: query tiles, heads, samples.
template <class T, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kDim <= 40 ? 3 : 2)
    SelfKernel(AttentionArguments<T> p) {
  constexpr int kStageBytes = 2 * Tile::kKeysBytes;
  static_assert(Tile::kQueriesBytes <= kStageBytes);
  const Head<T> head(p);
  const int first_query = BlockIndex().x * Tile::kQueries;
  const int first_row = first_query + Warp() * Tile::kWarpQueries;
  const int keys = p.shape.causal && first_query + Tile::kQueries < p.shape.keys
                       ? first_query + Tile::kQueries
                       : p.shape.keys;
  const int blocks = (keys + Tile::kKeys - 1) / Tile::kKeys;
  const auto keys_of = [](int block) { return Shared<T>(block % 2 * kStageBytes); };
  const auto values_of = [](int block) {
    return Shared<T>(block % 2 * kStageBytes + Tile::kKeysBytes);
  };
  const auto copy = [&](int block) {
    const int first = block * Tile::kKeys, thread = ThreadIndex().x;
    CopyRows<Tile::kChunks, Tile::kKeys, Tile::kThreads>(keys_of(block), head.k, p.k_stride, first,
                                                         p.shape.keys, thread);
    CopyRows<Tile::kChunks, Tile::kKeys, Tile::kThreads>(values_of(block), head.v, p.v_stride,
                                                         first, p.shape.keys, thread);
  };

  // Queries arrive in the second stage, which is free until the first block of keys is at work.
  const SharedPtr<T> queries = keys_of(1);
  const SharedPtr<T> mine = queries + Warp() * Tile::kWarpQueries * Tile::kDim;
  CopyRows<Tile::kChunks, Tile::kQueries, Tile::kThreads>(queries, head.q, p.q_stride, first_query,
                                                          p.shape.queries, ThreadIndex().x);
  copy(0);
  CommitCopies();
  WaitCopies<0>();
  SyncThreads();
  QueryRows<T, Tile> rows;
  rows.Begin(mine);
  for (int block = 0; block < blocks; ++block) {
    WaitCopies<0>();
    SyncThreads();  // this block is here, and the one before it is read to the end
    if (block + 1 < blocks) copy(block + 1);
    CommitCopies();
    const int first_key = block * Tile::kKeys;
    const bool some_hidden =
        first_key + Tile::kKeys > (p.shape.causal ? first_row + 1 : p.shape.keys);
    rows.Add(keys_of(block), values_of(block), p.scale, some_hidden, [&](int key, int row) {
      return first_key + key >= p.shape.keys ||
             (p.shape.causal && first_key + key > first_row + row);
    });
  }
  SyncThreads();
  rows.End(mine);
  SyncWarp();
  WriteRows<Tile>(mine, head.y + first_row * p.y_stride, p.y_stride, p.shape.queries - first_row);
}

// Grid: groups of query tiles, heads, samples. After the keys have arrived warps go their own ways.
template <class T>
struct CrossArguments {
  AttentionArguments<T> attention;
  int tiles = 1;       // in a group
  int key_blocks = 1;  // all keys are in these
};
template <class T, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kDim <= 40 ? 4 : 1)
    CrossKernel(CrossArguments<T> arguments) {
  const AttentionArguments<T>& p = arguments.attention;
  const Head<T> head(p);
  const int blocks = Tile::kDim > kWidestOfMany ? 1 : arguments.key_blocks;
  const auto keys_of = [](int block) { return Shared<T>(2 * block * Tile::kKeysBytes); };
  const auto values_of = [](int block) { return Shared<T>((2 * block + 1) * Tile::kKeysBytes); };
  const int first_tile = BlockIndex().x * arguments.tiles;
  const auto first_row_of = [&](int tile) {
    return (first_tile + tile) * Tile::kQueries + Warp() * Tile::kWarpQueries;
  };
  const auto queries_of = [&](int tile) {
    return Shared<T>(2 * blocks * Tile::kKeysBytes + tile % 2 * Tile::kQueriesBytes) +
           Warp() * Tile::kWarpQueries * Tile::kDim;
  };
  const auto copy = [&](int tile) {
    CopyRows<Tile::kChunks, Tile::kWarpQueries, 32>(queries_of(tile), head.q, p.q_stride,
                                                    first_row_of(tile), p.shape.queries, Lane());
  };
  const auto tile_exists = [&](int tile) {
    return tile < arguments.tiles && first_row_of(tile) < p.shape.queries;
  };

  for (int block = 0; block < blocks; ++block) {
    const int first = block * Tile::kKeys, thread = ThreadIndex().x;
    CopyRows<Tile::kChunks, Tile::kKeys, Tile::kThreads>(keys_of(block), head.k, p.k_stride, first,
                                                         p.shape.keys, thread);
    CopyRows<Tile::kChunks, Tile::kKeys, Tile::kThreads>(values_of(block), head.v, p.v_stride,
                                                         first, p.shape.keys, thread);
  }
  if (tile_exists(0)) copy(0);
  CommitCopies();
  WaitCopies<0>();
  SyncThreads();
  for (int tile = 0; tile_exists(tile); ++tile) {
    WaitCopies<0>();
    SyncWarp();
    if (tile_exists(tile + 1)) copy(tile + 1);
    CommitCopies();
    QueryRows<T, Tile> rows;
    rows.Begin(queries_of(tile));
    const int first_row = first_row_of(tile);
#pragma unroll 1
    for (int block = 0; block < blocks; ++block) {
      const int first_key = block * Tile::kKeys;
      const bool some_hidden = first_key + Tile::kKeys > p.shape.keys || p.shape.causal;
      rows.Add(keys_of(block), values_of(block), p.scale, some_hidden, [&](int key, int row) {
        return first_key + key >= p.shape.keys ||
               (p.shape.causal && first_key + key > first_row + row);
      });
    }
    SyncWarp();
    rows.End(queries_of(tile));
    SyncWarp();
    WriteRows<Tile>(queries_of(tile), head.y + first_row * p.y_stride, p.y_stride,
                    p.shape.queries - first_row);
  }
}

template <class T, int kDim>
cudaError_t LaunchDim(cudaStream_t stream, AttentionArguments<T> p) {
  p.scale *= kLog2E;
  const auto heads = static_cast<unsigned>(p.shape.heads),
             batch = static_cast<unsigned>(p.shape.batch);
  using Resident = CrossTile<kDim>;
  const int blocks = (p.shape.keys + kBlockKeys - 1) / kBlockKeys;
  const size_t resident_bytes =
      2 * (static_cast<size_t>(blocks) * Resident::kKeysBytes + Resident::kQueriesBytes);
  if (blocks <= kMostBlocks && resident_bytes <= kMostSharedBytes) {
    using Tile = Resident;
    // A group has more tiles where there are still enough groups to fill a large card.
    constexpr int64_t kEnoughBlocks = 512, kMostTiles = 8;
    const int64_t tiles = (p.shape.queries + Tile::kQueries - 1) / Tile::kQueries;
    int64_t group = tiles * heads * batch / kEnoughBlocks;
    group = group < 1 ? 1 : group > kMostTiles ? kMostTiles : group;
    const LaunchShape shape = {
        .grid = {static_cast<unsigned>((tiles + group - 1) / group), heads, batch},
        .block = {Tile::kThreads},
        .shared_bytes = resident_bytes};
    return Launch<&CrossKernel<T, Tile>>(stream, shape, {p, static_cast<int>(group), blocks});
  }
  using Tile = SelfTile<kDim>;
  const auto tiles = static_cast<unsigned>((p.shape.queries + Tile::kQueries - 1) / Tile::kQueries);
  const LaunchShape shape = {.grid = {tiles, heads, batch},
                             .block = {Tile::kThreads},
                             .shared_bytes = 4 * Tile::kKeysBytes};
  return Launch<&SelfKernel<T, Tile>>(stream, shape, p);
}

template <class T>
bool Fits(const AttentionArguments<T>& p) {
  const AttentionShape& s = p.shape;
  constexpr int kMostGrid = 65535;
  const auto aligned = [](const void* at, int64_t stride) {
    return reinterpret_cast<uintptr_t>(at) % kChunkBytes == 0 && stride % kChunk == 0;
  };
  return s.batch > 0 && s.batch <= kMostGrid && s.heads > 0 && s.heads <= kMostGrid &&
         s.queries > 0 && s.keys > 0 && p.scale > 0 && aligned(p.q, p.q_stride) &&
         aligned(p.k, p.k_stride) && aligned(p.v, p.v_stride) && aligned(p.y, p.y_stride);
}

}  // namespace

template <class T>
cudaError_t Attention(cudaStream_t stream, const AttentionArguments<T>& p) {
  if (!Fits(p)) return cudaErrorInvalidValue;
  switch (p.shape.head_dim) {
    case 24:
      return LaunchDim<T, 24>(stream, p);
    case 32:
      return LaunchDim<T, 32>(stream, p);
    case 40:
      return LaunchDim<T, 40>(stream, p);
    case 64:
      return LaunchDim<T, 64>(stream, p);
    case 80:
      return LaunchDim<T, 80>(stream, p);
    case 128:
      return LaunchDim<T, 128>(stream, p);
    case 160:
      return LaunchDim<T, 160>(stream, p);
    case kWideDim:
      return WideAttention<T>(stream, p);
    default:
      return cudaErrorInvalidValue;
  }
}

template cudaError_t Attention(cudaStream_t, const AttentionArguments<Bf16>&);
#ifndef TILTSHIFT_BF16_ONLY
template cudaError_t Attention(cudaStream_t, const AttentionArguments<Fp16>&);
#endif

}  // namespace tiltshift::kernels
