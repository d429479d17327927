// Starts a kernel on a stream: Launch<Kernel>(stream, shape, arguments).
//
// For .cu files. A kernel takes one struct of arguments, copied at the call. The shape is a
// variable of its own: nvcc 12.0 makes a mess of designated initializers within a template's call.
#pragma once

#include <string>

#include "kernels/device.h"
#include "kernels/runtime.h"

#ifndef __CUDACC__
#include "kernels/emulation/card.h"
#endif

namespace tiltshift::kernels {

#ifdef __CUDACC__

struct LaunchShape {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;
};

template <class F>
struct ArgumentOf;
template <class A>
struct ArgumentOf<void (*)(A)> {
  using Type = A;
};

template <auto kKernel>
cudaError_t Launch(cudaStream_t stream, const LaunchShape& shape,
                   const typename ArgumentOf<decltype(kKernel)>::Type& arguments) {
  constexpr size_t kWithoutAsking = 48 << 10;
  if (shape.shared_bytes > kWithoutAsking) {
    const cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kKernel),
                                                   cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                   static_cast<int>(shape.shared_bytes));
    if (error != cudaSuccess) return error;
  }
  kKernel<<<shape.grid, shape.block, shape.shared_bytes, stream>>>(arguments);
  return cudaGetLastError();
}

#else

using emulation::LaunchShape;

template <class F>
struct ArgumentOf;
template <class A>
struct ArgumentOf<void (*)(A)> {
  using Type = A;
};

template <auto kKernel>
cudaError_t Launch(cudaStream_t stream, const LaunchShape& shape,
                   const typename ArgumentOf<decltype(kKernel)>::Type& arguments) {
  using Arguments = typename ArgumentOf<decltype(kKernel)>::Type;
  // "... [with auto kKernel = GemmKernel<...>]"
  static const std::string name = emulation::KernelName(__PRETTY_FUNCTION__);
  return emulation::Enqueue(stream, shape, [shape, arguments] {
    emulation::TheCard().Run(
        shape, name, [](const void* copy) { kKernel(*static_cast<const Arguments*>(copy)); },
        &arguments);
  });
}

#endif

}  // namespace tiltshift::kernels
