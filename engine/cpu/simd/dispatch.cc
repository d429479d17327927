#include "engine/cpu/simd/kernels.h"

namespace tiltshift::engine::simd {

const Kernels& Kernels_baseline();
const Kernels& Kernels_avx2();
const Kernels& Kernels_avx512();
const Kernels& Kernels_avx512_bf16();

const Kernels& FloatKernels(Isa isa) {
  switch (isa) {
    case Isa::kAvx512: return Kernels_avx512();
    case Isa::kAvx2: return Kernels_avx2();
    case Isa::kBaseline: break;
  }
  return Kernels_baseline();
}

const Kernels& Bf16Kernels() { return Kernels_avx512_bf16(); }

}  // namespace tiltshift::engine::simd
