// A square of sixteen by sixteen numbers of 32 bits turned over, for processors with vectors of 512
// bits: call it from functions for those alone.
#pragma once

#include <immintrin.h>

namespace tiltshift {

// Number c of vector r becomes number r of vector c. Always inline: files with other instruction
// sets include this, and none may call what was compiled for another.
__attribute__((target("avx512f"), always_inline)) inline void Transpose(__m512i (&v)[16]) {
  __m512i pairs[16], fours[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      fours[i + 2 * half] = _mm512_unpacklo_epi64(pairs[i + half], pairs[i + 2 + half]);
      fours[i + 2 * half + 1] = _mm512_unpackhi_epi64(pairs[i + half], pairs[i + 2 + half]);
    }
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {  // quarter q of fours[4 * g + c]: rows 4 g on of column 4 q + c
    const __m512i even = _mm512_shuffle_i32x4(fours[c], fours[4 + c], 0x88),
                  odd = _mm512_shuffle_i32x4(fours[c], fours[4 + c], 0xdd),
                  later_even = _mm512_shuffle_i32x4(fours[8 + c], fours[12 + c], 0x88),
                  later_odd = _mm512_shuffle_i32x4(fours[8 + c], fours[12 + c], 0xdd);
    v[c] = _mm512_shuffle_i32x4(even, later_even, 0x88);
    v[4 + c] = _mm512_shuffle_i32x4(odd, later_odd, 0x88);
    v[8 + c] = _mm512_shuffle_i32x4(even, later_even, 0xdd);
    v[12 + c] = _mm512_shuffle_i32x4(odd, later_odd, 0xdd);
  }
}

}  // namespace tiltshift
