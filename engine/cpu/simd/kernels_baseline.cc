#define TILTSHIFT_SIMD(name) name##_baseline
#include "engine/cpu/simd/kernels.inc"
