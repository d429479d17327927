#include "models/recipe/scenes/isa.h"

namespace tiltshift::scenes {
namespace {

#if defined(TILTSHIFT_SCENES_X86)
constexpr IsaVariant kVariants[] = {
    {"avx512", avx512::TraceScene}, {"avx2", avx2::TraceScene}, {"baseline", baseline::TraceScene}};

// As many features as CMakeLists.txt compiles each variant for.
size_t FirstRunnable() {
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (!has_avx2) return 2;
  const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return has_avx512 ? 0 : 1;
}
#else
constexpr IsaVariant kVariants[] = {{"baseline", baseline::TraceScene}};

size_t FirstRunnable() { return 0; }
#endif

}  // namespace

std::span<const IsaVariant> RunnableVariants() {
  return std::span(kVariants).subspan(FirstRunnable());
}

}  // namespace tiltshift::scenes
