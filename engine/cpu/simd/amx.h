// Attention in bf16 on AMX tiles: products of 16x32 by 32x16, sums in fp32.
//
// y = softmax(scale * q k^T) v for one head, 32 queries at a time, in one pass over blocks of keys (FlashAttention,
// Dao et al. 2022): a block's scores as floats, weights as bf16 in their place, times the values, added to what the
// blocks before gave. What is stored of the scores is 32 rows of two blocks. While the vector units weigh one
// block, the tiles add up the one before and score the one after. Every sum runs over the keys (or the head's
// dims) in one order, whatever the threads (I4).
//
// A weight is 2^(score - top), `top` being the largest score so far, so that nothing overflows; where it is larger
// than before, what was added up is scaled down. But |score| <= |q| |k|: where that is below 2^100 for a block's
// queries and all keys, no weight can overflow or vanish with top = 0, and the search for it is saved.
//
// Limits: d even. What is padded (d to 32 for the scores and to 16 for the sums, keys to 32) is zero and costs its
// share of the products: head dims 40 and 80 use 71 and 91% of the tiles. A weight is exact to 1/128 of an
// exponent, as bf16: within 0.5%, about what FlashAttention's rounding of the same numbers allows twice over; the
// division by their sum comes last.
#pragma once

#include <cstdint>

namespace tiltshift::engine::simd {

inline constexpr int64_t kAmxRows = 32;  // queries a block: each tile of keys serves two of them
// Keys and values of one head in the tiles' order: k [keys/16][d/32] tiles of k^T, v [d/16][keys/32] tiles; a
// tile is 16 rows of 64 bytes, in which two neighbours of the summed dimension lie side by side.
struct AmxHead {
  int64_t keys = 0, padded_keys = 0;  // to 32
  int64_t d = 0, padded_d = 0;        // to 32
  uint16_t* k = nullptr;              // padded_keys * padded_d
  uint16_t* v = nullptr;              // the same
  float longest = 0;                  // the largest |key|, as AmxPackHead found it
};

// Keys a block: two blocks' scores stay in the first-level cache beside what streams through it; wider heads, which
// stream more, gain more from adding up more keys at once.
inline constexpr int64_t kAmxKeys = 128;  // at most
inline int64_t AmxBlockKeys(const AmxHead& head) { return head.keys <= 96 ? 96 : kAmxKeys; }

struct AmxOptions {
  int64_t rows = 0;
  int64_t q_stride = 0, y_stride = 0;
  float scale = 1;
};

// Floats from a row of scores to the next: rows of a tile lie in different sets of the cache.
inline constexpr int64_t kScoreStride = kAmxKeys + 16;

// Bytes of scratch AmxAttend needs, aligned to 64.
inline int64_t AmxScratchBytes(const AmxHead& head) {
  return kAmxRows * (2 * kScoreStride * 4 + head.padded_d * 6 + 2 * 64);
}

// Fills head.k and head.v; returns the length of the longest key.
float AmxPackHead(const uint16_t* k, const uint16_t* v, int64_t stride, const AmxHead& head);
void AmxAttend(const uint16_t* q, const AmxHead& head, const AmxOptions& options, char* scratch, uint16_t* y);

}  // namespace tiltshift::engine::simd
