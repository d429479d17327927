#include <cstring>

#include "engine/cuda/card_denoise.h"
#include "engine/cuda/cuda_program.h"

namespace tiltshift::engine {
namespace cuda {
namespace {

constexpr int kOldestMajor = 8;  // sm_80: mma.sync for bf16, cp.async

class CudaBackend : public Backend {
 public:
  explicit CudaBackend(std::string name) : name_(std::move(name)) {}

  std::string name() const override { return name_; }
  bool HasBf16() const override { return true; }
  bool HasFp32() const override { return false; }
  int threads() const override { return 1; }
  absl::Status health() const override { return card_.health(); }

  absl::StatusOr<std::unique_ptr<Program>> Compile(const Graph& graph, Compute compute) override {
    TS_RETURN_IF_ERROR(Ready());
    return Noted<Program>(CudaProgram::New(graph, card_, WeightsFor(compute)));
  }

  bool DenoisesInBatches() const override { return true; }
  absl::StatusOr<std::unique_ptr<DenoiseBatch>> CompileDenoise(const DenoiseBatchShape& shape,
                                                               Compute compute) override {
    TS_RETURN_IF_ERROR(Ready());
    return Noted<DenoiseBatch>(CardDenoise::New(shape, card_, WeightsFor(compute)));
  }

 private:
  absl::Status Ready() const {
    TS_RETURN_IF_ERROR(card_.health());
    return ToStatus(cudaSetDevice(0), "choosing the card");
  }
  CardWeights& WeightsFor(Compute compute) {
    return compute == Compute::kBf16 ? bf16_weights_ : fp16_weights_;
  }
  template <class Base, class Made>
  absl::StatusOr<std::unique_ptr<Base>> Noted(absl::StatusOr<std::unique_ptr<Made>> made) {
    if (made.ok()) return std::unique_ptr<Base>(*std::move(made));
    if (absl::IsAborted(made.status())) card_.Note(made.status());
    return made.status();
  }

  const std::string name_;
  Card card_;
  CardWeights bf16_weights_{Half::kBf16};
  CardWeights fp16_weights_{Half::kFp16};
};

absl::StatusOr<cudaDeviceProp> FindCard() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    cudaGetLastError();
    return absl::FailedPreconditionError(
        absl::StrCat("device cuda: no card is there (", cudaGetErrorName(error),
                     "); scripts/setup --cuda says what is missing, device cpu needs none"));
  }
  cudaDeviceProp card;
  TS_RETURN_IF_ERROR(ToStatus(cudaGetDeviceProperties(&card, 0), "asking for the card's kind"));
  if (card.major < kOldestMajor) {
    return absl::FailedPreconditionError(absl::StrCat("device cuda: ", card.name,
                                                      " is of compute capability ", card.major, ".",
                                                      card.minor, "; 8.0 or later is needed"));
  }
  return card;
}

}  // namespace
}  // namespace cuda

absl::StatusOr<DeviceInfo> FindCudaCard() {
  TS_ASSIGN_OR_RETURN(const cudaDeviceProp card, cuda::FindCard());
  return DeviceInfo{
      .device = Device::kCuda, .name = card.name, .memory_bytes = card.totalGlobalMem};
}

absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend() {
  TS_ASSIGN_OR_RETURN(const cudaDeviceProp card, cuda::FindCard());
  if (std::strcmp(card.name, "emulated") == 0)
    return std::make_unique<cuda::CudaBackend>("cuda-emulated");
  int version = 0;  // of the toolkit that compiled the kernels
  TS_RETURN_IF_ERROR(cuda::ToStatus(cudaRuntimeGetVersion(&version), "asking for the version"));
  return std::make_unique<cuda::CudaBackend>(absl::StrCat(
      "cuda-sm_", card.major, card.minor, "/cuda-", version / 1000, ".", version % 1000 / 10));
}

}  // namespace tiltshift::engine
