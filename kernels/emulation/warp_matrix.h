// The warp's matrix instructions, with the lane layouts of the PTX manual ("Warp-level matrix
// instructions").
#pragma once

#include <cstdint>

namespace tiltshift::emulation {

inline constexpr int kMostMmaColumns = 32;  // n of a batch, at most

enum class MatrixNumber { kBf16, kFp16 };

// What a lane brings to a batch of mma.sync.m16n8k16: c[m][n] += a[m] * b[n], four floats, four
// registers and two registers each.
struct MmaArguments {
  int m;
  int n;
  float* c;
  const uint32_t* a;
  const uint32_t* b;
  MatrixNumber number;
};

// For all lanes at once. Sums run over k upwards, each product exact and each addition rounded to
// fp32: one of the orders the manual allows.
void WarpMma(const MmaArguments* const* lanes);

// What a lane brings to a batch of ldmatrix.x4: `count` row addresses, and four registers for each.
struct LoadMatrixArguments {
  int count;
  const void* const* rows;
  uint32_t* registers;
  bool transposed;
};

void WarpLoadMatrix(const LoadMatrixArguments* const* lanes);

}  // namespace tiltshift::emulation
