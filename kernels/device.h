// What a kernel is written with: thin functions that are inline PTX on the card and emulation on
// the host. Nothing else in this folder knows which of the two it is.
//
// A kernel is a `__global__` function of one struct of arguments, in a .cu file that nvcc compiles
// for the card and g++ for the emulator (emulation/). It reaches memory only through GlobalPtr and
// SharedPtr and the functions below: under nvcc they are the pointers and the instructions
// themselves, in the emulator every access can be checked and counted.
//
//   struct ScaleArguments { const Bf16* x; Bf16* y; int64_t count; float factor; };
//
//   __global__ void ScaleKernel(ScaleArguments p) {
//     const int64_t i = int64_t{BlockIndex().x} * BlockSize().x + ThreadIndex().x;
//     if (i < p.count) {
//       Store(GlobalPtr(p.y) + i, FromFloat<Bf16>(p.factor * ToFloat(Load(GlobalPtr(p.x) + i))));
//     }
//   }
//   ... const LaunchShape shape = {.grid = {blocks}, .block = {256}};                  (launch.h)
//       Launch<ScaleKernel>(stream, shape, arguments)
//
// Rules. Shared memory is dynamic: Shared<T>(byte_offset). Warp functions (Shuffle.., LoadMatrices,
// MultiplyAccumulate, SyncWarp) are for all 32 lanes. Several instructions go into one call (an
// array of rows, a tile of products): the card sees the same instructions, the emulator switches
// lanes once for all. docs/kernels.md has the test's side.
//
// - ThreadIndex(), BlockIndex(), BlockSize(), GridSize() with .x .y .z; Lane(), Warp()
// - V Load<V>(pointer), Store(pointer, value): V defaults to the pointer's type; its size is the
//   access's and its alignment
// - CopyAsync16(SharedPtr, GlobalPtr, bool valid): cp.async of 16 bytes, zeros where not valid;
//   CommitCopies(); WaitCopies<N>(): all but the latest N groups have landed
// - SyncThreads(), SyncWarp()
// - AtomicAdd(pointer, value), AtomicMax(pointer, value), AtomicCompareAndSwap(pointer, expected,
//   value): of global or shared int32_t and uint32_t, AtomicAdd of float too; what was there
//   before. Relaxed: they order nothing else. Fence(): this thread's accesses of global memory
//   before it come before those after it, for all of the card
// - Shuffle(value, lane), ShuffleXor(value, mask), ShuffleDown(value, delta); Any(bool), All(bool),
//   Ballot(bool)
// - LoadMatrices<kTransposed>(rows[N], registers[N][4]): ldmatrix.x4, N times
// - MultiplyAccumulate<T>(c[M][N][4], a[M][4], b[(N+1)/2][4]): mma.sync m16n8k16, M x N times; a
//   register quartet of b is two tiles of 8 columns, as one ldmatrix.x4 brings them. With
//   uint32_t c[M][N][2] and Fp16 the sums are fp16, in pairs: no kernel here wants that
// - Exp2(x), Reciprocal(x), ReciprocalRoot(x), Erf(x), Tanh(x): fast, a few ulp
#pragma once

#include "kernels/numbers.h"

#ifdef __CUDACC__
#include "kernels/device_cuda.h"  // IWYU pragma: export
#else
#include "kernels/emulation/device_emulated.h"  // IWYU pragma: export
#endif

namespace tiltshift::kernels {

// ldmatrix and mma.sync see a tile of 2-byte numbers; these say how many bytes a row of 8 of them
// takes.
inline constexpr int kChunkBytes = 16;
inline constexpr int kChunk = 8;  // numbers in a chunk

inline constexpr float kLog2E = 1.4426950408889634f;

// x / (1 + e^-x).
__device__ __forceinline__ float Silu(float x) { return x * Reciprocal(1.0f + Exp2(-kLog2E * x)); }
// x / 2 (1 + erf(x / sqrt 2)).
__device__ __forceinline__ float Gelu(float x) {
  return 0.5f * x * (1.0f + Erf(x * 0.70710678118654752f));
}
// x / (1 + e^(-1.702 x)): CLIP's.
__device__ __forceinline__ float QuickGelu(float x) {
  return x * Reciprocal(1.0f + Exp2(-1.702f * kLog2E * x));
}
__device__ __forceinline__ float Relu(float x) { return x > 0 ? x : 0.0f; }
// 3 tanh(x / 3).
__device__ __forceinline__ float SoftClamp(float x) { return 3 * Tanh(x * (1.0f / 3)); }

}  // namespace tiltshift::kernels
