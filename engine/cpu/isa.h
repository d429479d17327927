// What the processor has, as far as oneDNN will use it: DNNL_MAX_CPU_ISA limits our own kernels
// too, so that the name in the render class tells the whole truth.
#pragma once

#include <string>

#include "engine/cpu/simd/kernels.h"

namespace tiltshift::engine::cpu {

std::string IsaName();  // "avx512_core_amx"
bool HasBf16();         // AVX512-BF16 or AMX; emulated bf16 would be slower than fp32
bool HasAmx();
simd::Isa KernelIsa();

}  // namespace tiltshift::engine::cpu
