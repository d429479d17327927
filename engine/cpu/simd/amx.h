// Attention on AMX tiles: products of 16x32 by 32x16 in bf16, sums in fp32.
//
// y = softmax(scale * q k^T) v for one head, in one pass over blocks of keys (FlashAttention, Dao et al. 2022): the
// scores of 32 queries with a block of keys as floats, weights in their place, times the values, added to what the
// blocks before gave. What is stored of the scores is 32 rows of two blocks. While the vector units weigh one
// block, the tiles add up the one before and score the one after. Up to kAmxMostRows queries see a block of keys
// before the next. Every sum runs over the keys (or the head's dims) in one order, whatever the threads (I4).
//
// A weight is 2^(score - top), `top` being the largest score so far, so that nothing overflows; where it is larger
// than before, what was added up is scaled down. But |score| <= |q| |k|: where that is below 2^100 for 32
// queries and all keys, no weight can overflow or vanish with top = 0, and the search for it is saved.
//
// In bf16 a weight is exact to 1/128 of an exponent: within 0.5%, about what FlashAttention's rounding of the same
// numbers allows twice over; the division by their sum comes last. In fp32 everything that is multiplied is two terms
// of bf16 (amx_product.h). For the scores they lie one after the other, q [small, large, large] and k [large, large,
// small], so that 3 d are padded once: of a head of 40 that takes 4 tile products where 3 times 2 would be taken. For the
// sums, whose other side is computed, both terms of 32 keys lie side by side.
//
// Limits: in bf16 d is even. What is padded (the depth of scores to 32, d to 16 for the sums, keys to 32) is zero and
// costs its share of the products: head dims 40 and 80 use 71 and 91% of the tiles in bf16.
#pragma once

#include <cstdint>

namespace tiltshift::engine::simd {

inline constexpr int64_t kAmxRows = 32;  // queries a block: each tile of keys serves two of them
inline constexpr int64_t kAmxMostRows = 128;  // that AmxAttend takes at a time

// Keys and values of one head in the tiles' order: k [keys/16][depth/32] tiles of k^T, v [d/16][keys/32][terms] tiles; a
// tile is 16 rows of 64 bytes, in which two neighbours of the summed dimension lie side by side.
struct AmxHead {
  int64_t keys = 0, padded_keys = 0;  // to 32
  int64_t d = 0, padded_d = 0;        // to 32
  int64_t depth = 0;                  // of a score's sum
  int64_t terms = 1;                  // of a value: 2 in fp32
  uint16_t* k = nullptr;              // key_elements()
  uint16_t* v = nullptr;              // value_elements()
  float longest = 0;                  // the largest |key|, as AmxPackHead found it

  AmxHead(int64_t head_keys, int64_t head_d, bool fp32) : keys(head_keys), d(head_d), terms(fp32 ? 2 : 1) {
    const auto padded = [](int64_t n) { return (n + 31) / 32 * 32; };
    padded_keys = padded(keys);
    padded_d = padded(d);
    depth = fp32 ? padded(3 * d) : padded_d;
  }
  int64_t key_elements() const { return padded_keys * depth; }
  int64_t value_elements() const { return padded_keys * padded_d * terms; }
};

// Keys a block: two blocks' scores stay in the first-level cache beside what streams through it; wider heads, which
// stream more, gain more from adding up more keys at once.
inline constexpr int64_t kAmxKeys = 128;  // at most
inline int64_t AmxBlockKeys(const AmxHead& head) { return head.keys <= 96 ? 96 : kAmxKeys; }

struct AmxOptions {
  int64_t rows = 0;  // 1 to kAmxMostRows
  int64_t q_stride = 0, y_stride = 0;
  float scale = 1;
};

// Floats from a row of scores to the next: rows of a tile lie in different sets of the cache.
inline constexpr int64_t kScoreStride = kAmxKeys + 16;

// Bytes of scratch that both functions need, aligned to 64.
inline int64_t AmxScratchBytes(const AmxHead& head) {
  return kAmxRows * 2 * kScoreStride * 4 + kAmxMostRows * (head.depth * 2 + head.padded_d * 4 + 16 * 4 + 4);
}

// Fills head.k and head.v from bf16s or, where the head is fp32's, floats; returns the length of the longest key.
float AmxPackHead(const uint16_t* k, const uint16_t* v, int64_t stride, const AmxHead& head, char* scratch);
float AmxPackHead(const float* k, const float* v, int64_t stride, const AmxHead& head, char* scratch);

void AmxAttend(const uint16_t* q, const AmxHead& head, const AmxOptions& options, char* scratch, uint16_t* y);
void AmxAttend(const float* q, const AmxHead& head, const AmxOptions& options, char* scratch, float* y);

}  // namespace tiltshift::engine::simd
