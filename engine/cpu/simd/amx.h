// Attention in bf16 on AMX tiles: products of 16x32 by 32x16, sums in fp32.
//
// y = softmax(scale * q k^T) v for one head and up to kAmxRows queries: scores of all keys as floats, softmax,
// rounded to bf16, times the values. Two tiles of queries by two of keys are in flight, so a loaded tile is used
// twice. Every sum runs over the keys (or the head's dims) in ascending order, whatever the threads (I4).
//
// Limits: d even. What is padded (d to 32, keys to 32) is zero and costs its share of the products: head
// dims 40 and 80 use 63 and 83% of the tiles. Rounding the weights to bf16 before the second product adds 2^-9
// of each, as in FlashAttention; the division by their fp32 sum comes last.
#pragma once

#include <cstdint>

namespace tiltshift::engine::simd {

inline constexpr int64_t kAmxRows = 32;

// Keys and values of one head in the tiles' order: k [keys/16][d/32] tiles of k^T, v [d/16][keys/32] tiles; a
// tile is 16 rows of 64 bytes, in which two neighbours of the summed dimension lie side by side.
struct AmxHead {
  int64_t keys = 0, padded_keys = 0;  // to 32
  int64_t d = 0, padded_d = 0;        // to 32
  uint16_t* k = nullptr;              // padded_keys * padded_d
  uint16_t* v = nullptr;              // the same
};

struct AmxOptions {
  int64_t rows = 0;  // at most kAmxRows
  int64_t q_stride = 0, y_stride = 0;
  float scale = 1;
};

// Bytes of scratch AmxAttend needs, aligned to 64.
inline int64_t AmxScratchBytes(const AmxHead& head) {
  return kAmxRows * (head.padded_keys * 6 + head.padded_d * 6);
}

void AmxPackHead(const uint16_t* k, const uint16_t* v, int64_t stride, const AmxHead& head);
void AmxAttend(const uint16_t* q, const AmxHead& head, const AmxOptions& options, char* scratch, uint16_t* y);

}  // namespace tiltshift::engine::simd
