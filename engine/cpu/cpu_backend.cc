#include <dnnl.hpp>
#include <omp.h>

#include "engine/cpu/cpu_program.h"
#include "engine/cpu/isa.h"

namespace tiltshift::engine {
namespace cpu {
namespace {

class CpuBackend : public Backend {
 public:
  explicit CpuBackend(Products products)
      : products_(products),
        engine_(dnnl::engine::kind::cpu, 0),
        bf16_weights_(engine_),
        float_weights_(engine_) {}

  std::string name() const override {
    const dnnl_version_t* version = dnnl_version();
    return absl::StrCat("cpu-", IsaName(), "/dnnl-", version->major, ".", version->minor, ".",
                        version->patch);
  }
  bool HasBf16() const override { return cpu::HasBf16(); }
  int threads() const override { return omp_get_max_threads(); }

  absl::StatusOr<std::unique_ptr<Program>> Compile(const Graph& graph, Compute compute) override {
    const bool bf16 = compute == Compute::kBf16;
    try {
      return std::make_unique<CpuProgram>(
          graph, CpuProgram::Options{
                     .engine = engine_,
                     .weights = bf16 ? &bf16_weights_ : &float_weights_,
                     .kernels = bf16 ? &simd::Bf16Kernels() : &simd::FloatKernels(KernelIsa()),
                     .bf16 = bf16,
                     .products = products_,
                     .threads = threads(),
                 });
    } catch (const dnnl::error& error) {
      if (error.status == dnnl_out_of_memory) {
        return absl::ResourceExhaustedError("not enough memory for this picture size; ask for a smaller one");
      }
      return absl::UnimplementedError(absl::StrCat("oneDNN has no code for a layer of this model on this "
                                                   "processor: ", error.message));
    }
  }

 private:
  const Products products_;
  dnnl::engine engine_;
  PackedWeights bf16_weights_;
  PackedWeights float_weights_;
};

}  // namespace
}  // namespace cpu

std::unique_ptr<Backend> MakeCpuBackend(Products products) {
  return std::make_unique<cpu::CpuBackend>(products);
}

}  // namespace tiltshift::engine
