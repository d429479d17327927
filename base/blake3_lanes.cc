#include "base/blake3_lanes.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "base/transpose.h"
#endif

#include <array>
#include <cstring>

namespace tiltshift::blake3 {
namespace {

// The word of the block that each of a round's sixteen additions takes.
constexpr std::array<std::array<uint8_t, 16>, 7> kSchedule = [] {
  constexpr uint8_t kPermutation[16] = {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8};
  std::array<std::array<uint8_t, 16>, 7> schedule = {};
  for (uint8_t i = 0; i < 16; ++i) schedule[0][i] = i;
  for (size_t round = 1; round < 7; ++round) {
    for (size_t i = 0; i < 16; ++i) schedule[round][i] = schedule[round - 1][kPermutation[i]];
  }
  return schedule;
}();

// V: a word, or a vector of one word of each lane. By reference, so that nothing is passed in
// registers that the caller's instruction set does not have.
#define TS_INLINE inline __attribute__((always_inline))
template <int kTurnD, int kTurnB, class V>
TS_INLINE void HalfMix(V& a, V& b, V& c, V& d, const V& word) {
  a += b + word;
  d ^= a;
  d = d >> kTurnD | d << (32 - kTurnD);
  c += d;
  b ^= c;
  b = b >> kTurnB | b << (32 - kTurnB);
}
template <class V>
TS_INLINE void Mix(V& a, V& b, V& c, V& d, const V& x, const V& y) {
  HalfMix<16, 12>(a, b, c, d, x);
  HalfMix<8, 7>(a, b, c, d, y);
}

// `v`: a value's eight words, four of kStart, the chunk's number in two, length and flags. The next
// value's are its first eight afterwards.
template <class V>
TS_INLINE void Rounds(V (&v)[16], const V (&words)[16]) {
#pragma GCC unroll 7
  for (size_t round = 0; round < 7; ++round) {
    const std::array<uint8_t, 16>& s = kSchedule[round];
    Mix(v[0], v[4], v[8], v[12], words[s[0]], words[s[1]]);
    Mix(v[1], v[5], v[9], v[13], words[s[2]], words[s[3]]);
    Mix(v[2], v[6], v[10], v[14], words[s[4]], words[s[5]]);
    Mix(v[3], v[7], v[11], v[15], words[s[6]], words[s[7]]);
    Mix(v[0], v[5], v[10], v[15], words[s[8]], words[s[9]]);
    Mix(v[1], v[6], v[11], v[12], words[s[10]], words[s[11]]);
    Mix(v[2], v[7], v[8], v[13], words[s[12]], words[s[13]]);
    Mix(v[3], v[4], v[9], v[14], words[s[14]], words[s[15]]);
  }
#pragma GCC unroll 8
  for (size_t i = 0; i < 8; ++i) v[i] ^= v[i + 8];
}

}  // namespace

void Compress(const char* block, uint64_t chunk, uint32_t length, uint32_t flags,
              Blake3Value* value) {
  uint32_t words[16], v[16];
  std::memcpy(words, block, sizeof(words));
  std::memcpy(v, value->data(), sizeof(*value));
  std::memcpy(v + 8, kStart, 4 * sizeof(uint32_t));
  v[12] = static_cast<uint32_t>(chunk);
  v[13] = static_cast<uint32_t>(chunk >> 32);
  v[14] = length;
  v[15] = flags;
  Rounds(v, words);
  std::memcpy(value->data(), v, sizeof(*value));
}

#if defined(__x86_64__)
namespace {

using Words16 = uint32_t __attribute__((vector_size(64)));  // one of each lane
using Words8 = uint32_t __attribute__((vector_size(32)));

// The words of the blocks of messages `stride` bytes apart.
__attribute__((target("avx512f"))) void Load16(const char* at, size_t stride,
                                               Words16 (&words)[16]) {
  __m512i v[16];
#pragma GCC unroll 16
  for (size_t lane = 0; lane < 16; ++lane) {
    v[lane] = _mm512_loadu_si512(at + lane * stride);
    _mm_prefetch(at + (16 + lane) * stride, _MM_HINT_T0);  // the messages after these
  }
  Transpose(v);
#pragma GCC unroll 16
  for (size_t i = 0; i < 16; ++i) words[i] = (Words16)v[i];
}

__attribute__((target("avx2"))) void Load8(const char* at, size_t stride, Words8 (&words)[16]) {
#pragma GCC unroll 2
  for (size_t half = 0; half < 2; ++half) {
    __m256i v[8], pairs[8];
#pragma GCC unroll 8
    for (size_t lane = 0; lane < 8; ++lane) {
      v[lane] = _mm256_loadu_si256(
          reinterpret_cast<const __m256i*>(at + lane * stride + half * sizeof(__m256i)));
      if (half == 0) _mm_prefetch(at + (8 + lane) * stride, _MM_HINT_T0);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < 8; i += 2) {
      pairs[i] = _mm256_unpacklo_epi32(v[i], v[i + 1]);
      pairs[i + 1] = _mm256_unpackhi_epi32(v[i], v[i + 1]);
    }
#pragma GCC unroll 4
    for (size_t c = 0; c < 4; ++c) {  // words c and 4 + c, of lanes 0 to 3 and 4 to 7
      const __m256i *low = pairs + c / 2, *high = low + 4;
      const bool odd = c % 2 == 1;
      const __m256i first = odd ? _mm256_unpackhi_epi64(low[0], low[2])
                                : _mm256_unpacklo_epi64(low[0], low[2]),
                    later = odd ? _mm256_unpackhi_epi64(high[0], high[2])
                                : _mm256_unpacklo_epi64(high[0], high[2]);
      words[half * 8 + c] = (Words8)_mm256_permute2x128_si256(first, later, 0x20);
      words[half * 8 + 4 + c] = (Words8)_mm256_permute2x128_si256(first, later, 0x31);
    }
  }
}

template <class V, size_t kLanes = sizeof(V) / sizeof(uint32_t)>
TS_INLINE void CompressAll(const Messages& messages, void (*load)(const char*, size_t, V (&)[16]),
                           Blake3Value* values) {
  V value[8], chunk[2];
  for (size_t i = 0; i < 8; ++i) value[i] = V{} + kStart[i];
  for (size_t lane = 0; lane < kLanes; ++lane) {
    const uint64_t index = messages.parents ? 0 : messages.chunk + lane;
    chunk[0][lane] = static_cast<uint32_t>(index);
    chunk[1][lane] = static_cast<uint32_t>(index >> 32);
  }
  for (size_t block = 0; block < messages.blocks; ++block) {
    V words[16], v[16];
    load(messages.at + block * kBlock, messages.blocks * kBlock, words);
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; ++i) v[i] = value[i];
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; ++i) v[8 + i] = V{} + kStart[i];
    v[12] = chunk[0];
    v[13] = chunk[1];
    v[14] = V{} + static_cast<uint32_t>(kBlock);
    v[15] = V{} + messages.FlagsOf(block);
    Rounds(v, words);
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; ++i) value[i] = v[i];
  }
  for (size_t lane = 0; lane < kLanes; ++lane) {
    for (size_t i = 0; i < 8; ++i) values[lane][i] = value[i][lane];
  }
}
__attribute__((target("avx512f"))) void Compress16(const Messages& messages, Blake3Value* values) {
  CompressAll<Words16>(messages, Load16, values);
}
__attribute__((target("avx2"))) void Compress8(const Messages& messages, Blake3Value* values) {
  CompressAll<Words8>(messages, Load8, values);
}

}  // namespace

size_t CompressLanes(const Messages& messages, size_t count, Blake3Value* values) {
  static const bool has_16 = __builtin_cpu_supports("avx512f") != 0,
                    has_8 = __builtin_cpu_supports("avx2") != 0;
  Messages left = messages;
  size_t done = 0;
  for (; has_16 && count - done >= 16; done += 16, left.Skip(16)) Compress16(left, values + done);
  for (; has_8 && count - done >= 8; done += 8, left.Skip(8)) Compress8(left, values + done);
  return done;
}
#else
size_t CompressLanes(const Messages&, size_t, Blake3Value*) { return 0; }
#endif

}  // namespace tiltshift::blake3
