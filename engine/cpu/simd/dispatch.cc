#include "engine/cpu/simd/kernels.h"

namespace tiltshift::engine::simd {

#define TILTSHIFT_DECLARE(isa)        \
  const Kernels& Bf16Kernels_##isa(); \
  const Kernels& FloatKernels_##isa();
TILTSHIFT_DECLARE(baseline)
TILTSHIFT_DECLARE(avx2)
TILTSHIFT_DECLARE(avx512)

const Kernels& Bf16Kernels(Isa isa) {
  switch (isa) {
    case Isa::kAvx512: return Bf16Kernels_avx512();
    case Isa::kAvx2: return Bf16Kernels_avx2();
    case Isa::kBaseline: break;
  }
  return Bf16Kernels_baseline();
}

const Kernels& FloatKernels(Isa isa) {
  switch (isa) {
    case Isa::kAvx512: return FloatKernels_avx512();
    case Isa::kAvx2: return FloatKernels_avx2();
    case Isa::kBaseline: break;
  }
  return FloatKernels_baseline();
}

}  // namespace tiltshift::engine::simd
