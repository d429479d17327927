#include "kernels/bench/gpu_check.h"

#ifdef TILTSHIFT_CUBLAS

#include <cublas_v2.h>

#include "base/check.h"
#include "kernels/bench/card_timer.h"
#include "kernels/testing/device_buffer.h"

namespace tiltshift::kernels::bench {

double LibraryGemmSeconds(int m, int n, int k) {
  using testing::DeviceBuffer;
  using testing::RandomNumbers;
  constexpr size_t kWorkspaceBytes = 64 << 20;
  static const DeviceBuffer<char> workspace(kWorkspaceBytes);
  static cublasHandle_t handle = [] {
    cublasHandle_t made;
    TS_CHECK(cublasCreate(&made) == CUBLAS_STATUS_SUCCESS);
    return made;
  }();
  const DeviceBuffer<Bf16> x(RandomNumbers<Bf16>(int64_t{m} * k, 1)),
      w(RandomNumbers<Bf16>(int64_t{n} * k, 2));
  const DeviceBuffer<Bf16> y(int64_t{m} * n);
  const float one = 1, zero = 0;
  return SecondsOf([&](cudaStream_t stream, int) {
    cublasSetStream(handle, stream);
    cublasSetWorkspace(handle, workspace.get(), kWorkspaceBytes);
    // Column major: y^T [n, m] = w [n, k] x^T [k, m].
    TS_CHECK(cublasGemmEx(handle, CUBLAS_OP_T, CUBLAS_OP_N, n, m, k, &one, w.get(), CUDA_R_16BF, k,
                          x.get(), CUDA_R_16BF, k, &zero, y.get(), CUDA_R_16BF, n,
                          CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
  });
}

}  // namespace tiltshift::kernels::bench

#else

double tiltshift::kernels::bench::LibraryGemmSeconds(int, int, int) { return 0; }

#endif
