// The CUDA runtime's calls: NVIDIA's own, or the emulator's shim of those that are used here.
#pragma once

#ifdef TILTSHIFT_EMULATED
#include "kernels/emulation/cuda_shim.h"  // IWYU pragma: export
#else
#include <cuda_runtime.h>  // IWYU pragma: export
#endif
