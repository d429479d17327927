#include "engine/cpu/isa.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <dnnl.hpp>

#include "absl/strings/str_format.h"

namespace tiltshift::engine::cpu {

using dnnl::cpu_isa;

namespace {

#if DNNL_VERSION_MAJOR == 2 && DNNL_VERSION_MINOR < 6 && defined(SYS_arch_prctl)
// These take AMX only when told to, and leave asking Linux for the tile registers to the program.
void TakeAmx() {
  constexpr int kAskForFeature = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  if (std::getenv("DNNL_MAX_CPU_ISA") != nullptr) return;
  if (syscall(SYS_arch_prctl, kAskForFeature, kTileData) == 0)
    dnnl::set_max_cpu_isa(cpu_isa::avx512_core_amx);
}
#else
void TakeAmx() {}
#endif

cpu_isa EffectiveIsa() {
  static const cpu_isa isa = [] {
    TakeAmx();
    return dnnl::get_effective_cpu_isa();
  }();
  return isa;
}

// oneDNN's names are sets of bits; later ones that it may come to know contain the earlier.
bool Includes(cpu_isa isa) {
  const auto bits = static_cast<unsigned>(isa);
  return (static_cast<unsigned>(EffectiveIsa()) & bits) == bits;
}

}  // namespace

std::string IsaName() {
  switch (const cpu_isa isa = EffectiveIsa()) {
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
