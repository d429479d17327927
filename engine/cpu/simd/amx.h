// Attention in bf16 on AMX tiles: products of 16x32 by 32x16, sums in fp32.
//
// y = softmax(scale * q k^T) v for one head and 16 or 32 queries: scores of all keys as floats, weights as bf16 in
// their place, times the values. Every sum runs over the keys (or the head's dims) in one order, whatever the
// threads and the block (I4).
//
// Limits: d even. What is padded (d to 32, keys to 32) is zero and costs its share of the products: head
// dims 40 and 80 use 63 and 83% of the tiles. A weight is 2^(score) to 1/128 of an exponent, as bf16: within 0.5%,
// about what FlashAttention's rounding of the same numbers allows twice over; the division by their sum comes last.
#pragma once

#include <cstdint>

namespace tiltshift::engine::simd {

inline constexpr int64_t kAmxRows = 32;  // at most, in a block of queries

// Keys and values of one head in the tiles' order: k [keys/16][d/32] tiles of k^T, v [d/16][keys/32] tiles; a
// tile is 16 rows of 64 bytes, in which two neighbours of the summed dimension lie side by side.
struct AmxHead {
  int64_t keys = 0, padded_keys = 0;  // to 32
  int64_t d = 0, padded_d = 0;        // to 32
  uint16_t* k = nullptr;              // padded_keys * padded_d
  uint16_t* v = nullptr;              // the same
};

struct AmxOptions {
  int64_t rows = 0;  // at most AmxBlockRows
  int64_t q_stride = 0, y_stride = 0;
  float scale = 1;
};

// Queries a block: 32 use each tile of keys twice, 16 keep the scores of more keys in the first-level cache.
inline int64_t AmxBlockRows(const AmxHead& head) { return head.padded_keys > 128 ? 16 : kAmxRows; }
// Floats from a row of scores to the next.
inline int64_t ScoreStride(const AmxHead& head) { return head.padded_keys + 16; }

// Bytes of scratch AmxAttend needs, aligned to 64.
inline int64_t AmxScratchBytes(const AmxHead& head) {
  return kAmxRows * (ScoreStride(head) * 4 + head.padded_d * 6);
}

void AmxPackHead(const uint16_t* k, const uint16_t* v, int64_t stride, const AmxHead& head);
void AmxAttend(const uint16_t* q, const AmxHead& head, const AmxOptions& options, char* scratch, uint16_t* y);

}  // namespace tiltshift::engine::simd
