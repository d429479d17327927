#include <immintrin.h>

#include <array>

#include "base/transpose.h"
#include "engine/cpu/simd/amx_product.h"

namespace tiltshift::engine::simd {
namespace {

constexpr int64_t kTileColumns = 16;
constexpr int64_t kTermElements = kPanelColumns * kStepDepth;

using Halves = std::array<uint16_t, 32>;
__m512i Load(const Halves& halves) { return _mm512_loadu_si512(halves.data()); }

struct Floats {
  __m512 low, high;
};

// FloatToBfloat16 of each in the high half of 32 bits: to nearest, also where the processor's own
// instruction would make zeros of the smallest numbers. The low half is of no use.
__m512i Rounded(__m512 x) {
  const __m512i bits = (__m512i)x;
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  return _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
}

__m512 WithoutTerm(__m512 x, __m512i rounded) {
  const __m512i term = _mm512_and_si512(rounded, _mm512_set1_epi32(static_cast<int>(0xffff0000)));
  return _mm512_sub_ps(x, (__m512)term);
}

// The next term of each; where more follow, what it leaves.
__m512i TakeTerm(Floats* x, bool more) {
  static constexpr Halves kHigh = [] {
    Halves high;
    for (uint16_t i = 0; i < 32; ++i) high[i] = 2 * i + 1;
    return high;
  }();
  const __m512i low = Rounded(x->low), high = Rounded(x->high);
  if (more) *x = {WithoutTerm(x->low, low), WithoutTerm(x->high, high)};
  return _mm512_permutex2var_epi16(low, Load(kHigh), high);
}

// Of 96 elements every third from the first, second and third on.
struct Thirds {
  Halves of_first_two, and_of_third;
};
constexpr Thirds EveryThird(uint16_t from) {
  Thirds thirds;
  for (uint16_t i = 0; i < 32; ++i) {
    const uint16_t source = 3 * i + from;
    thirds.of_first_two[i] = source % 64;
    thirds.and_of_third[i] = source < 64 ? i : source - 32;
  }
  return thirds;
}
void Deinterleave(__m512i* a, __m512i* b, __m512i* c) {
  static constexpr Thirds kThirds[3] = {EveryThird(0), EveryThird(1), EveryThird(2)};
  const auto take = [a = *a, b = *b, c = *c](const Thirds& thirds) {
    const __m512i two = _mm512_permutex2var_epi16(a, Load(thirds.of_first_two), b);
    return _mm512_permutex2var_epi16(two, Load(thirds.and_of_third), c);
  };
  const __m512i first = take(kThirds[0]), second = take(kThirds[1]), third = take(kThirds[2]);
  *a = first, *b = second, *c = third;
}

// From nine places of each channel in turn to 32 channels of each place in turn.
void ByPlace(__m512i (&v)[9]) {
  for (int i = 0; i < 9; i += 3) Deinterleave(&v[i], &v[i + 1], &v[i + 2]);
  for (int i = 0; i < 3; ++i) Deinterleave(&v[i], &v[3 + i], &v[6 + i]);
}

template <int kPlaces>
void PackRow(const float* row, int terms, uint16_t* lines) {
  Floats left[kPlaces];
  for (Floats& x : left) {
    x = {_mm512_loadu_ps(row), _mm512_loadu_ps(row + 16)};
    row += 32;
  }
  for (int t = 0; t < terms; ++t) {
    __m512i v[kPlaces];
    for (int place = 0; place < kPlaces; ++place) v[place] = TakeTerm(&left[place], t + 1 < terms);
    if constexpr (kPlaces == 9) ByPlace(v);
    for (int place = 0; place < kPlaces; ++place)
      _mm512_storeu_si512(lines + (place * terms + t) * kTermElements, v[place]);
  }
}

}  // namespace

void AmxPackRow(const float* row, int64_t places, int terms, uint16_t* lines) {
  places == 1 ? PackRow<1>(row, terms, lines) : PackRow<9>(row, terms, lines);
}

void AmxPackStep(const uint16_t* lines, int terms, uint16_t* out) {
  for (int64_t tile = 0; tile < 2 * terms; ++tile) {
    __m512i pairs[kTileColumns];
    for (__m512i& row : pairs) {
      row = _mm512_loadu_si512(lines);
      lines += kStepDepth;
    }
    Transpose(pairs);
    for (const __m512i& pair : pairs) {
      _mm512_storeu_si512(out, pair);
      out += kStepDepth;
    }
  }
}

}  // namespace tiltshift::engine::simd
