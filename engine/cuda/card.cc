#include "engine/cuda/card.h"

#include <algorithm>

namespace tiltshift::engine::cuda {

absl::Status ToStatus(cudaError_t error, const std::string& doing) {
  if (error == cudaSuccess) return absl::OkStatus();
  cudaGetLastError();  // one that is not sticky is told once
  if (error == cudaErrorMemoryAllocation) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the card's memory is full (", doing, "); ask for a smaller picture or use fewer slots"));
  }
  return absl::AbortedError(absl::StrCat("the card failed while ", doing, ": ",
                                         cudaGetErrorName(error), "; a new process is needed"));
}

absl::StatusOr<DeviceBytes> DeviceBytes::New(size_t bytes) {
  DeviceBytes memory;
  const cudaError_t error = cudaMalloc(&memory.data_, std::max<size_t>(bytes, 1));
  if (error != cudaSuccess) {
    memory.data_ = nullptr;
    return ToStatus(error, absl::StrCat("taking ", bytes, " bytes"));
  }
  return memory;
}

absl::StatusOr<PinnedBytes> PinnedBytes::New(size_t bytes) {
  PinnedBytes memory;
  const cudaError_t error = cudaMallocHost(&memory.data_, std::max<size_t>(bytes, 1));
  if (error != cudaSuccess) {
    memory.data_ = nullptr;
    return ToStatus(error, absl::StrCat("pinning ", bytes, " bytes"));
  }
  return memory;
}

absl::Status Card::health() const {
  std::lock_guard lock(mutex_);
  return health_;
}

void Card::Note(const absl::Status& status) {
  std::lock_guard lock(mutex_);
  health_.Update(status);
}

}  // namespace tiltshift::engine::cuda
