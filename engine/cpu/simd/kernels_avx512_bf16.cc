#define TILTSHIFT_SIMD(name) name##_avx512_bf16
#include "engine/cpu/simd/kernels.inc"
