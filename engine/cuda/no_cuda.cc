// In the place of the CUDA backend where the build has none (-DTILTSHIFT_CUDA=OFF).
#include "engine/backend.h"

namespace tiltshift::engine {

absl::StatusOr<DeviceInfo> FindCudaCard() {
  return absl::FailedPreconditionError(
      "device cuda: this build has no CUDA backend; build with -DTILTSHIFT_CUDA=ON, or use device "
      "cpu");
}

absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend() { return FindCudaCard().status(); }

}  // namespace tiltshift::engine
