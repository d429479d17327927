#define TILTSHIFT_SIMD(name) name##_avx2
#include "engine/cpu/simd/kernels.inc"
