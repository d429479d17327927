#include "engine/cpu/isa.h"

#include <dnnl.hpp>

#include "absl/strings/str_format.h"

namespace tiltshift::engine::cpu {

using dnnl::cpu_isa;

namespace {

// oneDNN's names are sets of bits; later ones that it may come to know contain the earlier.
bool Includes(cpu_isa isa) {
  const auto bits = static_cast<unsigned>(isa);
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & bits) == bits;
}

}  // namespace

std::string IsaName() {
  const cpu_isa isa = dnnl::get_effective_cpu_isa();
  switch (isa) {
    case cpu_isa::sse41: return "sse41";
    case cpu_isa::avx: return "avx";
    case cpu_isa::avx2: return "avx2";
    case cpu_isa::avx2_vnni: return "avx2_vnni";
    case cpu_isa::avx512_core: return "avx512_core";
    case cpu_isa::avx512_core_vnni: return "avx512_core_vnni";
    case cpu_isa::avx512_core_bf16: return "avx512_core_bf16";
    case cpu_isa::avx512_core_amx: return "avx512_core_amx";
    default: return absl::StrFormat("isa_%x", static_cast<unsigned>(isa));
  }
}

bool HasAmx() { return Includes(cpu_isa::avx512_core_amx); }

bool HasBf16() { return Includes(cpu_isa::avx512_core_bf16); }

simd::Isa KernelIsa() {
  if (Includes(cpu_isa::avx512_core)) return simd::Isa::kAvx512;
  return Includes(cpu_isa::avx2) ? simd::Isa::kAvx2 : simd::Isa::kBaseline;
}

}  // namespace tiltshift::engine::cpu
