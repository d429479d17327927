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
    return Guarded([&]() -> std::unique_ptr<Program> {
      return std::make_unique<CpuProgram>(graph, OptionsFor(compute, WeightsFor(compute)));
    });
  }

  std::string packing() const override { return absl::StrCat(name(), "/packing-", kPackingVersion); }

  absl::Status PackInto(PackWriter& writer, const Graph& graph, Compute compute) override {
    PackedWeights weights(engine_, &writer);
    return Guarded([&] {
             CpuProgram::Pack(graph, OptionsFor(compute, weights));
             return true;
           })
        .status();
  }

  absl::StatusOr<ProgramMemory> MemoryFor(const Graph& graph, Compute compute) override {
    PackedWeights nothing(engine_, PackedWeights::MeasureOnly{});
    return Guarded([&] {
      const size_t own = CpuProgram::PlannedBytes(graph, OptionsFor(compute, nothing));
      return ProgramMemory{own, nothing.measured_bytes()};
    });
  }

  void UsePack(std::shared_ptr<const WeightPack> pack) override {
    bf16_weights_.Use(pack);
    float_weights_.Use(pack);
  }

 private:
  PackedWeights& WeightsFor(Compute compute) { return compute == Compute::kBf16 ? bf16_weights_ : float_weights_; }

  CpuProgram::Options OptionsFor(Compute compute, PackedWeights& weights) const {
    const bool bf16 = compute == Compute::kBf16;
    return {
        .engine = engine_,
        .weights = &weights,
        .kernels = bf16 ? &simd::Bf16Kernels() : &simd::FloatKernels(KernelIsa()),
        .bf16 = bf16,
        .sparing = compute == Compute::kFp32Sparing,
        .products = products_,
        .threads = threads(),
    };
  }

  // f's result; what oneDNN throws becomes a status.
  template <class F>
  static auto Guarded(const F& f) -> absl::StatusOr<decltype(f())> {
    try {
      return f();
    } catch (const dnnl::error& error) {
      if (error.status == dnnl_out_of_memory) {
        return absl::ResourceExhaustedError("not enough memory for this picture size; ask for a smaller one");
      }
      return absl::UnimplementedError(absl::StrCat("oneDNN has no code for a layer of this model on this "
                                                   "processor: ", error.message));
    }
  }

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
