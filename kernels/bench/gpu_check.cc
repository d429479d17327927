// Checks every kernel on this machine's card against fp64 references, then times them:
// scripts/gpu-check builds and runs it.
//
//   gpu_check            checks, then times
//   gpu_check --check    checks only
#include "kernels/bench/gpu_check.h"

#include <cstring>

#include "kernels/bench/card_timer.h"
#include "kernels/runtime.h"

namespace tiltshift::kernels::bench {

void Verdicts::Compared(const std::string& name, double worst) {
  ++all_;
  if (worst <= 1) {
    std::printf("  ok     %-44s error %.3f of its bound\n", name.c_str(), worst);
  } else {
    ++wrong_;
    std::printf("  WRONG  %-44s error %.3g of its bound\n", name.c_str(), worst);
  }
}

void Verdicts::Was(const std::string& name, bool right) {
  ++all_;
  wrong_ += right ? 0 : 1;
  std::printf("  %s  %s\n", right ? "ok   " : "WRONG", name.c_str());
}

namespace {

bool DescribeCard() {
  cudaDeviceProp properties;
  const cudaError_t error = cudaGetDeviceProperties(&properties, 0);
  if (error != cudaSuccess) {
    std::printf("no card: %s\n", cudaGetErrorString(error));
    return false;
  }
  std::printf("%s, sm_%d%d, %d multiprocessors, %.1f GB, L2 %d MB\n", properties.name,
              properties.major, properties.minor, properties.multiProcessorCount,
              properties.totalGlobalMem * 1e-9, properties.l2CacheSize >> 20);
  return true;
}

Limits MeasureLimits() {
  constexpr int kSize = 8192;
  Limits limits = {.copy_bytes_per_second = CopyBandwidth()};
  const double seconds = LibraryGemmSeconds(kSize, kSize, kSize);
  if (seconds > 0) limits.gemm_flops_per_second = 2.0 * kSize * kSize * kSize / seconds;
  std::printf("copy %.2f TB/s, cuBLAS bf16 %d^3 %.0f TFLOP/s\n",
              limits.copy_bytes_per_second * 1e-12, kSize, limits.gemm_flops_per_second * 1e-12);
  return limits;
}

int Run(bool time) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (!DescribeCard()) return 2;
  Verdicts verdicts;
  CheckProducts(verdicts);
  CheckAttention(verdicts);
  CheckNorms(verdicts);
  std::printf("%d checks, %d wrong\n", verdicts.all(), verdicts.wrong());
  if (verdicts.wrong() > 0) return 1;
  if (time) {
    const Limits limits = MeasureLimits();
    BenchProducts(limits);
    BenchAttention(limits);
    BenchNorms(limits);
  }
  return cudaDeviceSynchronize() == cudaSuccess ? 0 : 1;
}

}  // namespace
}  // namespace tiltshift::kernels::bench

int main(int argc, char** argv) {
  return tiltshift::kernels::bench::Run(argc < 2 || std::strcmp(argv[1], "--check") != 0);
}
