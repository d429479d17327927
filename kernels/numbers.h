// The two half-precision numbers, on the host and on the card.
//
// bf16: 8 bits of exponent, 7 of fraction; fp16 (IEEE binary16): 5 and 10. Conversions round to
// nearest even, as the card's do.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#ifdef __CUDACC__
#define TS_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define TS_HOST_DEVICE inline
#endif

namespace tiltshift::kernels {

struct Bf16 {
  uint16_t bits;
};
struct Fp16 {
  uint16_t bits;
};

namespace numbers {

TS_HOST_DEVICE float FloatOfBits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
TS_HOST_DEVICE uint32_t BitsOfFloat(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

// Half of fp16's spacing below its smallest normal number is 2^-25: adding 0.5 rounds a float to
// 2^-24.
TS_HOST_DEVICE uint16_t HostFp16Bits(float value) {
  const uint32_t bits = BitsOfFloat(value);
  const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;   // NaN
  if (magnitude >= 0x477ff000) return sign | 0x7c00;  // rounds to infinity
  if (magnitude < 0x38800000) {                       // subnormal or zero
    const float rounded = FloatOfBits(magnitude) + 0.5f;
    return sign | static_cast<uint16_t>(BitsOfFloat(rounded) - 0x3f000000);
  }
  const uint32_t odd = magnitude >> 13 & 1;
  return sign | static_cast<uint16_t>((magnitude - 0x38000000 + 0xfff + odd) >> 13);
}

TS_HOST_DEVICE float HostFloatOfFp16(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t magnitude = half & 0x7fff;
  if (magnitude >= 0x7c00) return FloatOfBits(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
  if (magnitude < 0x400) {  // subnormal: a multiple of 2^-24
    return FloatOfBits(sign | BitsOfFloat(static_cast<float>(magnitude) * 5.9604644775390625e-8f));
  }
  return FloatOfBits(sign | ((magnitude << 13) + 0x38000000));
}

}  // namespace numbers

TS_HOST_DEVICE float ToFloat(float value) { return value; }
TS_HOST_DEVICE float ToFloat(Bf16 value) {
  return numbers::FloatOfBits(static_cast<uint32_t>(value.bits) << 16);
}
TS_HOST_DEVICE float ToFloat(Fp16 value) {
#ifdef __CUDA_ARCH__
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
  return result;
#else
  return numbers::HostFloatOfFp16(value.bits);
#endif
}

template <class T>
TS_HOST_DEVICE T FromFloat(float value);

template <>
TS_HOST_DEVICE float FromFloat<float>(float value) {
  return value;
}
template <>
TS_HOST_DEVICE Bf16 FromFloat<Bf16>(float value) {
#ifdef __CUDA_ARCH__
  Bf16 result;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
  return result;
#else
  const uint32_t bits = numbers::BitsOfFloat(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return {static_cast<uint16_t>(bits >> 16 | 0x40)};
  return {static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
#endif
}
template <>
TS_HOST_DEVICE Fp16 FromFloat<Fp16>(float value) {
#ifdef __CUDA_ARCH__
  Fp16 result;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
  return result;
#else
  return {numbers::HostFp16Bits(value)};
#endif
}

// Two numbers in a register, the first in its low half.
template <class T>
TS_HOST_DEVICE uint32_t PackPair(float low, float high) {
#ifdef __CUDA_ARCH__
  uint32_t pair;
  if constexpr (std::is_same_v<T, Bf16>) {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  }
  return pair;
#else
  return static_cast<uint32_t>(FromFloat<T>(low).bits) |
         static_cast<uint32_t>(FromFloat<T>(high).bits) << 16;
#endif
}
template <class T>
TS_HOST_DEVICE float LowOf(uint32_t pair) {
  return ToFloat(T{static_cast<uint16_t>(pair)});
}
template <class T>
TS_HOST_DEVICE float HighOf(uint32_t pair) {
  return ToFloat(T{static_cast<uint16_t>(pair >> 16)});
}

// Sixteen bytes, the widest access.
struct alignas(16) Words4 {
  uint32_t word[4];
};
struct alignas(8) Words2 {
  uint32_t word[2];
};
struct alignas(16) Floats4 {
  float value[4];
};

}  // namespace tiltshift::kernels
