#define TILTSHIFT_SIMD(name) name##_avx512
#include "engine/cpu/simd/kernels.inc"
