#include "engine/cpu/isa.h"

#include <dnnl.hpp>

namespace tiltshift::engine::cpu {

using dnnl::cpu_isa;

std::string IsaName() {
  switch (dnnl::get_effective_cpu_isa()) {
    case cpu_isa::sse41: return "sse41";
    case cpu_isa::avx: return "avx";
    case cpu_isa::avx2: return "avx2";
    case cpu_isa::avx2_vnni: return "avx2_vnni";
    case cpu_isa::avx512_core: return "avx512_core";
    case cpu_isa::avx512_core_vnni: return "avx512_core_vnni";
    case cpu_isa::avx512_core_bf16: return "avx512_core_bf16";
    case cpu_isa::avx512_core_amx: return "avx512_core_amx";
    default: return "generic";
  }
}

bool HasAmx() { return dnnl::get_effective_cpu_isa() == cpu_isa::avx512_core_amx; }

bool HasBf16() {
  const cpu_isa isa = dnnl::get_effective_cpu_isa();
  return isa == cpu_isa::avx512_core_bf16 || isa == cpu_isa::avx512_core_amx;
}

simd::Isa KernelIsa() {
  switch (dnnl::get_effective_cpu_isa()) {
    case cpu_isa::avx2:
    case cpu_isa::avx2_vnni: return simd::Isa::kAvx2;
    case cpu_isa::avx512_core:
    case cpu_isa::avx512_core_vnni:
    case cpu_isa::avx512_core_bf16:
    case cpu_isa::avx512_core_amx: return simd::Isa::kAvx512;
    default: return simd::Isa::kBaseline;
  }
}

}  // namespace tiltshift::engine::cpu
