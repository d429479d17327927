#include "kernels/emulation/warp_matrix.h"

#include <cstring>

#include "kernels/numbers.h"

namespace tiltshift::emulation {
namespace {

constexpr int kRows = 16, kColumns = 8, kDepth = 16;

// Eight columns of a row.
typedef float Row __attribute__((vector_size(32)));

template <class T>
void Unpack(uint32_t pair, float* at, int step) {
  at[0] = kernels::ToFloat(T{static_cast<uint16_t>(pair)});
  at[step] = kernels::ToFloat(T{static_cast<uint16_t>(pair >> 16)});
}

// A (row major): lane = 4 g + t holds rows g and g + 8, columns 2t and 2t + 1, and those + 8.
template <class T>
void GatherA(const MmaArguments* const* lanes, int m, float (&to)[kRows][kDepth]) {
  for (int lane = 0; lane < 32; ++lane) {
    const uint32_t* a = lanes[lane]->a + 4 * m;
    const int row = lane / 4, column = lane % 4 * 2;
    Unpack<T>(a[0], &to[row][column], 1);
    Unpack<T>(a[1], &to[row + 8][column], 1);
    Unpack<T>(a[2], &to[row][column + 8], 1);
    Unpack<T>(a[3], &to[row + 8][column + 8], 1);
  }
}

// B (column major): lane = 4 g + t holds column g, rows 2t and 2t + 1, and those + 8.
template <class T>
void GatherB(const MmaArguments* const* lanes, int n, Row* to) {
  for (int lane = 0; lane < 32; ++lane) {
    const uint32_t* b = lanes[lane]->b + 2 * n;
    const int row = lane % 4 * 2, column = lane / 4;
    float* at = reinterpret_cast<float*>(to) + column;
    Unpack<T>(b[0], at + row * kColumns, kColumns);
    Unpack<T>(b[1], at + (row + 8) * kColumns, kColumns);
  }
}

// C: lane = 4 g + t holds rows g and g + 8, columns 2t and 2t + 1.
template <bool kStore>
void MoveC(const MmaArguments* const* lanes, int index, float (&c)[kRows][kColumns]) {
  for (int lane = 0; lane < 32; ++lane) {
    float* registers = lanes[lane]->c + 4 * index;
    const int row = lane / 4, column = lane % 4 * 2;
    for (int half = 0; half < 2; ++half) {
      float* at = &c[row + 8 * half][column];
      if (kStore) {
        std::memcpy(registers + 2 * half, at, 8);
      } else {
        std::memcpy(at, registers + 2 * half, 8);
      }
    }
  }
}

// Every product of two bf16 or fp16 is exact in fp32, so the bits do not depend on whether the
// compiler fuses it with the addition.
[[gnu::always_inline]] inline void MultiplyBody(const float (&a)[kRows][kDepth], const Row* b,
                                                float (&c)[kRows][kColumns]) {
  for (int row = 0; row < kRows; ++row) {
    Row sum;
    std::memcpy(&sum, c[row], sizeof sum);
    for (int k = 0; k < kDepth; ++k) sum += a[row][k] * b[k];
    std::memcpy(c[row], &sum, sizeof sum);
  }
}

void MultiplyPlain(const float (&a)[kRows][kDepth], const Row* b, float (&c)[kRows][kColumns]) {
  MultiplyBody(a, b, c);
}
[[gnu::target("avx2,fma")]] void MultiplyAvx2(const float (&a)[kRows][kDepth], const Row* b,
                                              float (&c)[kRows][kColumns]) {
  MultiplyBody(a, b, c);
}

const auto Multiply = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
                          ? &MultiplyAvx2
                          : &MultiplyPlain;

template <class T>
void Mma(const MmaArguments* const* lanes) {
  const int m_count = lanes[0]->m, n_count = lanes[0]->n;
  alignas(32) float a[kRows][kDepth];
  Row b[kMostMmaColumns][kDepth];
  for (int n = 0; n < n_count; ++n) GatherB<T>(lanes, n, b[n]);
  for (int m = 0; m < m_count; ++m) {
    GatherA<T>(lanes, m, a);
    for (int n = 0; n < n_count; ++n) {
      alignas(32) float c[kRows][kColumns];
      MoveC<false>(lanes, m * n_count + n, c);
      Multiply(a, b[n], c);
      MoveC<true>(lanes, m * n_count + n, c);
    }
  }
}

}  // namespace

void WarpMma(const MmaArguments* const* lanes) {
  if (lanes[0]->number == MatrixNumber::kBf16) {
    Mma<kernels::Bf16>(lanes);
  } else {
    Mma<kernels::Fp16>(lanes);
  }
}

void WarpLoadMatrix(const LoadMatrixArguments* const* lanes) {
  for (int i = 0; i < lanes[0]->count; ++i) {
    for (int matrix = 0; matrix < 4; ++matrix) {
      const int at = 4 * i + matrix;
      // Lanes 8 matrix .. 8 matrix + 7 name its rows of eight 2-byte elements.
      const LoadMatrixArguments* const* const named = lanes + 8 * matrix;
      if (!lanes[0]->transposed) {
        for (int lane = 0; lane < 32; ++lane) {
          const char* row = static_cast<const char*>(named[lane / 4]->rows[i]);
          std::memcpy(&lanes[lane]->registers[at], row + lane % 4 * 4, 4);
        }
        continue;
      }
      uint16_t rows[8][8];
      for (int row = 0; row < 8; ++row) std::memcpy(rows[row], named[row]->rows[i], 16);
      for (int lane = 0; lane < 32; ++lane) {
        const int row = lane / 4, column = lane % 4 * 2;
        lanes[lane]->registers[at] = rows[column][row] | uint32_t{rows[column + 1][row]} << 16;
      }
    }
  }
}

}  // namespace tiltshift::emulation
