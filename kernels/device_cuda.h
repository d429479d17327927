// The functions of device.h as the card's instructions. sm_80 and later.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/numbers.h"

namespace tiltshift::kernels {

template <class T>
struct GlobalPtr {
  T* address;

  GlobalPtr() = default;
  __host__ __device__ __forceinline__ explicit GlobalPtr(T* at) : address(at) {}
  __device__ __forceinline__ GlobalPtr operator+(int64_t n) const { return GlobalPtr(address + n); }
  __device__ __forceinline__ GlobalPtr operator-(int64_t n) const { return GlobalPtr(address - n); }
  __device__ __forceinline__ bool null() const { return address == nullptr; }
};

extern __shared__ __align__(1024) unsigned char tiltshift_shared_memory[];

// Kept as bytes from the beginning: 32 bits, and constant distances become part of the instruction.
template <class T>
struct SharedPtr {
  int offset;

  SharedPtr() = default;
  __device__ __forceinline__ explicit SharedPtr(int at) : offset(at) {}
  __device__ __forceinline__ SharedPtr operator+(int n) const {
    return SharedPtr(offset + n * static_cast<int>(sizeof(T)));
  }
  __device__ __forceinline__ SharedPtr operator-(int n) const {
    return SharedPtr(offset - n * static_cast<int>(sizeof(T)));
  }
  __device__ __forceinline__ bool operator==(const SharedPtr& other) const {
    return offset == other.offset;
  }
  __device__ __forceinline__ T* address() const {
    return reinterpret_cast<T*>(tiltshift_shared_memory + offset);
  }
};

template <class T>
__device__ __forceinline__ SharedPtr<T> Shared(int byte_offset) {
  return SharedPtr<T>(byte_offset);
}

__device__ __forceinline__ dim3 ThreadIndex() { return {threadIdx.x, threadIdx.y, threadIdx.z}; }
__device__ __forceinline__ dim3 BlockIndex() { return {blockIdx.x, blockIdx.y, blockIdx.z}; }
__device__ __forceinline__ dim3 BlockSize() { return {blockDim.x, blockDim.y, blockDim.z}; }
__device__ __forceinline__ dim3 GridSize() { return {gridDim.x, gridDim.y, gridDim.z}; }
__device__ __forceinline__ int Lane() { return threadIdx.x % 32; }
__device__ __forceinline__ int Warp() { return threadIdx.x / 32; }

// The vector type of a size, which the compiler moves in one instruction.
template <int kBytes>
struct VectorOf;
template <>
struct VectorOf<1> {
  using Type = uint8_t;
};
template <>
struct VectorOf<2> {
  using Type = uint16_t;
};
template <>
struct VectorOf<4> {
  using Type = uint32_t;
};
template <>
struct VectorOf<8> {
  using Type = uint2;
};
template <>
struct VectorOf<16> {
  using Type = uint4;
};

template <class V, class T>
__device__ __forceinline__ V LoadAt(const T* address) {
  using Vector = typename VectorOf<sizeof(V)>::Type;
  const Vector vector = *reinterpret_cast<const Vector*>(address);
  V value;
  memcpy(&value, &vector, sizeof value);
  return value;
}
template <class V, class T>
__device__ __forceinline__ void StoreAt(T* address, const V& value) {
  using Vector = typename VectorOf<sizeof(V)>::Type;
  Vector vector;
  memcpy(&vector, &value, sizeof value);
  *reinterpret_cast<Vector*>(address) = vector;
}

template <class T>
struct Plain {
  using Type = T;
};
template <class T>
struct Plain<const T> {
  using Type = T;
};

template <class V, class T>
__device__ __forceinline__ V Load(GlobalPtr<T> from) {
  return LoadAt<V>(from.address);
}
template <class V, class T>
__device__ __forceinline__ V Load(SharedPtr<T> from) {
  return LoadAt<V>(from.address());
}
template <class T>
__device__ __forceinline__ typename Plain<T>::Type Load(GlobalPtr<T> from) {
  return LoadAt<typename Plain<T>::Type>(from.address);
}
template <class T>
__device__ __forceinline__ typename Plain<T>::Type Load(SharedPtr<T> from) {
  return LoadAt<typename Plain<T>::Type>(from.address());
}
template <class T, class V>
__device__ __forceinline__ void Store(GlobalPtr<T> to, const V& value) {
  StoreAt(to.address, value);
}
template <class T, class V>
__device__ __forceinline__ void Store(SharedPtr<T> to, const V& value) {
  StoreAt(to.address(), value);
}

template <class T>
__device__ __forceinline__ uint32_t SharedAddress(SharedPtr<T> at) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(tiltshift_shared_memory)) +
         static_cast<uint32_t>(at.offset);
}

template <class T, class U>
__device__ __forceinline__ void CopyAsync16(SharedPtr<T> to, GlobalPtr<U> from, bool valid) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;\n" ::"r"(SharedAddress(to)),
               "l"(from.address), "r"(valid ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void CommitCopies() {
  asm volatile("cp.async.commit_group;\n" ::: "memory");
}
template <int kPending>
__device__ __forceinline__ void WaitCopies() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kPending) : "memory");
}

__device__ __forceinline__ void SyncThreads() { __syncthreads(); }
__device__ __forceinline__ void SyncWarp() { __syncwarp(); }

template <class T>
__device__ __forceinline__ T AtomicAdd(GlobalPtr<T> at, T value) {
  return atomicAdd(at.address, value);
}
template <class T>
__device__ __forceinline__ T AtomicAdd(SharedPtr<T> at, T value) {
  return atomicAdd(at.address(), value);
}
template <class T>
__device__ __forceinline__ T AtomicMax(GlobalPtr<T> at, T value) {
  return atomicMax(at.address, value);
}
template <class T>
__device__ __forceinline__ T AtomicMax(SharedPtr<T> at, T value) {
  return atomicMax(at.address(), value);
}
template <class T>
__device__ __forceinline__ T AtomicCompareAndSwap(GlobalPtr<T> at, T expected, T value) {
  return atomicCAS(at.address, expected, value);
}
template <class T>
__device__ __forceinline__ T AtomicCompareAndSwap(SharedPtr<T> at, T expected, T value) {
  return atomicCAS(at.address(), expected, value);
}
__device__ __forceinline__ void Fence() { __threadfence(); }

template <class T>
__device__ __forceinline__ T Shuffle(T value, int lane) {
  return __shfl_sync(0xffffffffu, value, lane);
}
template <class T>
__device__ __forceinline__ T ShuffleXor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
template <class T>
__device__ __forceinline__ T ShuffleDown(T value, int delta) {
  return __shfl_down_sync(0xffffffffu, value, delta);
}
__device__ __forceinline__ bool Any(bool value) { return __any_sync(0xffffffffu, value); }
__device__ __forceinline__ bool All(bool value) { return __all_sync(0xffffffffu, value); }
__device__ __forceinline__ uint32_t Ballot(bool value) { return __ballot_sync(0xffffffffu, value); }

template <bool kTransposed, int kCount, class T>
__device__ __forceinline__ void LoadMatrices(const SharedPtr<T> (&rows)[kCount],
                                             uint32_t (&registers)[kCount][4]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    uint32_t(&r)[4] = registers[i];
    const uint32_t address = SharedAddress(rows[i]);
    if constexpr (kTransposed) {
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                   : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                   : "r"(address));
    } else {
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                   : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                   : "r"(address));
    }
  }
}

template <class T>
__device__ __forceinline__ void MultiplyAccumulateOne(float (&c)[4], const uint32_t (&a)[4],
                                                      uint32_t b0, uint32_t b1);
template <>
__device__ __forceinline__ void MultiplyAccumulateOne<Bf16>(float (&c)[4], const uint32_t (&a)[4],
                                                            uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, "
      "{%0, %1, %2, %3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
__device__ __forceinline__ void MultiplyAccumulateOne<Fp16>(float (&c)[4], const uint32_t (&a)[4],
                                                            uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, "
      "%9}, "
      "{%0, %1, %2, %3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <class T, int kM, int kN, int kPairs>
__device__ __forceinline__ void MultiplyAccumulate(float (&c)[kM][kN][4],
                                                   const uint32_t (&a)[kM][4],
                                                   const uint32_t (&b)[kPairs][4]) {
  static_assert(kPairs == (kN + 1) / 2);
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int n = 0; n < kN; ++n) {
      MultiplyAccumulateOne<T>(c[m][n], a[m], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
    }
  }
}

template <class T, int kM, int kN, int kPairs>
__device__ __forceinline__ void MultiplyAccumulate(uint32_t (&c)[kM][kN][2],
                                                   const uint32_t (&a)[kM][4],
                                                   const uint32_t (&b)[kPairs][4]) {
  static_assert(kPairs == (kN + 1) / 2);
  static_assert(std::is_same_v<T, Fp16>);
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int n = 0; n < kN; ++n) {
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0, %1}, {%2, %3, %4, %5}, {%6, %7}, "
          "{%0, %1};\n"
          : "+r"(c[m][n][0]), "+r"(c[m][n][1])
          : "r"(a[m][0]), "r"(a[m][1]), "r"(a[m][2]), "r"(a[m][3]), "r"(b[n / 2][n % 2 * 2]),
            "r"(b[n / 2][n % 2 * 2 + 1]));
    }
  }
}

__device__ __forceinline__ float Exp2(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}
__device__ __forceinline__ float Reciprocal(float x) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}
__device__ __forceinline__ float ReciprocalRoot(float x) { return rsqrtf(x); }
__device__ __forceinline__ double MultiplyRounded(double a, double b) { return __dmul_rn(a, b); }
__device__ __forceinline__ float Erf(float x) { return erff(x); }
__device__ __forceinline__ float Tanh(float x) { return tanhf(x); }

}  // namespace tiltshift::kernels
