// The lane layouts as the PTX ISA manual (9.7.15, "Warp Level Matrix Multiply-Accumulate
// Instructions") gives them, each formula written down here a second time, and the shuffles and
// votes.
#include <gtest/gtest.h>

#include <vector>

#include "kernels/launch.h"

namespace tiltshift::kernels {
namespace {

struct Plan {
  float* out = nullptr;
};

// Runs one warp; what it wrote to `out`.
template <auto kKernel>
std::vector<float> RunWarp(int floats) {
  emulation::Tracked tracked;
  Plan plan;
  EXPECT_EQ(cudaMalloc(&plan.out, floats * 4), cudaSuccess);
  EXPECT_EQ(Launch<kKernel>(nullptr, {.grid = {1}, .block = {32}, .shared_bytes = 4096}, plan),
            cudaSuccess);
  std::vector<float> values(floats);
  EXPECT_EQ(cudaMemcpy(values.data(), plan.out, floats * 4, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_EQ(cudaFree(plan.out), cudaSuccess);
  EXPECT_EQ(emulation::Describe(emulation::TheCard().findings().Take()), "");
  emulation::ResetError();
  return values;
}

// Small integers: products and sums are exact, so any mistake of place shows.
float ValueA(int row, int k) { return static_cast<float>((row * 7 + k * 3) % 11 - 5); }
float ValueB(int k, int column) { return static_cast<float>((k * 5 + column * 2) % 13 - 6); }
float ValueC(int row, int column) { return static_cast<float>(row * 8 + column); }

float Product(int row, int column) {
  float sum = ValueC(row, column);
  for (int k = 0; k < 16; ++k) sum += ValueA(row, k) * ValueB(k, column);
  return sum;
}

// Manual, "Matrix Fragments for mma.m16n8k16 with floating point type": groupID = laneid >> 2,
// threadID_in_group = laneid % 4.
template <class T>
void MmaKernel(Plan p) {
  const int group = Lane() >> 2, thread = Lane() % 4;
  uint32_t a[1][4], b[1][4] = {};
  float c[1][1][4];
  float of_a[8], of_b[4];
  for (int i = 0; i < 8; ++i) {
    // row = groupID for ai where 0 <= i < 2 or 4 <= i < 6, else groupID + 8
    const int row = (i < 2 || (i >= 4 && i < 6)) ? group : group + 8;
    // col = (threadID_in_group * 2) + (i & 0x1) for i < 4, + 8 for i >= 4
    const int k = thread * 2 + (i & 1) + (i < 4 ? 0 : 8);
    of_a[i] = ValueA(row, k);
  }
  for (int i = 0; i < 4; ++i) {
    // row = (threadID_in_group * 2) + (i & 0x1), + 8 for i >= 2; col = groupID
    of_b[i] = ValueB(thread * 2 + (i & 1) + (i < 2 ? 0 : 8), group);
    // row = groupID for ci where i < 2, else groupID + 8; col = (threadID_in_group * 2) + (i & 0x1)
    c[0][0][i] = ValueC(i < 2 ? group : group + 8, thread * 2 + (i & 1));
  }
  for (int r = 0; r < 4; ++r) a[0][r] = PackPair<T>(of_a[2 * r], of_a[2 * r + 1]);
  for (int r = 0; r < 2; ++r) b[0][r] = PackPair<T>(of_b[2 * r], of_b[2 * r + 1]);
  MultiplyAccumulate<T>(c, a, b);
  for (int i = 0; i < 4; ++i) {
    const int row = i < 2 ? group : group + 8, column = thread * 2 + (i & 1);
    Store(GlobalPtr(p.out) + row * 8 + column, c[0][0][i]);
  }
}

template <class T>
void CheckMma() {
  const std::vector<float> out = RunWarp<&MmaKernel<T>>(128);
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      EXPECT_EQ(out[row * 8 + column], Product(row, column)) << row << "," << column;
    }
  }
}
TEST(Layout, MmaBf16) { CheckMma<Bf16>(); }
TEST(Layout, MmaFp16) { CheckMma<Fp16>(); }

// The same with .f16 for C and D: c0 and c1 in the first register, c2 and c3 in the second.
void MmaHalfSumsKernel(Plan p) {
  const int group = Lane() >> 2, thread = Lane() % 4;
  uint32_t a[1][4], b[1][4] = {}, c[1][1][2];
  for (int r = 0; r < 4; ++r) {
    const int row = r % 2 == 0 ? group : group + 8, k = thread * 2 + (r < 2 ? 0 : 8);
    a[0][r] = PackPair<Fp16>(ValueA(row, k), ValueA(row, k + 1));
  }
  for (int r = 0; r < 2; ++r) {
    const int k = thread * 2 + 8 * r, row = group + 8 * r;
    b[0][r] = PackPair<Fp16>(ValueB(k, group), ValueB(k + 1, group));
    c[0][0][r] = PackPair<Fp16>(ValueC(row, thread * 2), ValueC(row, thread * 2 + 1));
  }
  MultiplyAccumulate<Fp16>(c, a, b);
  for (int i = 0; i < 4; ++i) {
    const int row = i < 2 ? group : group + 8, column = thread * 2 + (i & 1);
    const uint32_t pair = c[0][0][i / 2];
    Store(GlobalPtr(p.out) + row * 8 + column, i % 2 == 0 ? LowOf<Fp16>(pair) : HighOf<Fp16>(pair));
  }
}
TEST(Layout, MmaFp16WithSumsInFp16) {
  const std::vector<float> out = RunWarp<&MmaHalfSumsKernel>(128);
  for (int i = 0; i < 128; ++i) {
    EXPECT_EQ(out[i], ToFloat(FromFloat<Fp16>(Product(i / 8, i % 8)))) << i / 8 << "," << i % 8;
  }
}

// Four 8x8 matrices of 16-bit numbers whose value says where they were.
float Mark(int matrix, int row, int column) {
  return static_cast<float>(matrix * 64 + row * 8 + column);
}

// Manual, "ldmatrix": threads 0-7 give the row addresses of the first matrix, 8-15 of the second,
// 16-23, 24-31; thread i gets of each the elements at row i / 4, columns 2 (i % 4) and that + 1.
// With .trans the matrix is loaded in column-major format.
template <bool kTransposed>
void LoadMatrixKernel(Plan p) {
  const SharedPtr<Fp16> shared = Shared<Fp16>(0);
  for (int i = Lane(); i < 256; i += 32)
    Store(shared + i, FromFloat<Fp16>(Mark(i / 64, i / 8 % 8, i % 8)));
  SyncThreads();
  const SharedPtr<Fp16> rows[1] = {shared + Lane() * 8};
  uint32_t registers[1][4];
  LoadMatrices<kTransposed>(rows, registers);
  for (int matrix = 0; matrix < 4; ++matrix) {
    const GlobalPtr<float> to = GlobalPtr(p.out) + (matrix * 32 + Lane()) * 2;
    Store(to, LowOf<Fp16>(registers[0][matrix]));
    Store(to + 1, HighOf<Fp16>(registers[0][matrix]));
  }
}

template <bool kTransposed>
void CheckLoadMatrix() {
  const std::vector<float> out = RunWarp<&LoadMatrixKernel<kTransposed>>(256);
  for (int matrix = 0; matrix < 4; ++matrix) {
    for (int lane = 0; lane < 32; ++lane) {
      for (int half = 0; half < 2; ++half) {
        const int row = lane / 4, column = 2 * (lane % 4) + half;
        EXPECT_EQ(out[(matrix * 32 + lane) * 2 + half],
                  kTransposed ? Mark(matrix, column, row) : Mark(matrix, row, column));
      }
    }
  }
}
TEST(Layout, LoadMatrix) { CheckLoadMatrix<false>(); }
TEST(Layout, LoadMatrixTransposed) { CheckLoadMatrix<true>(); }

void ShuffleKernel(Plan p) {
  const GlobalPtr<float> to = GlobalPtr(p.out) + Lane() * 4;
  const float mine = static_cast<float>(Lane());
  Store(to, Shuffle(mine, 5));
  Store(to + 1, ShuffleXor(mine, 3));
  Store(to + 2, ShuffleDown(mine, 4));
  Store(to + 3, static_cast<float>(Ballot(Lane() % 3 == 0) == 0x49249249u && Any(Lane() == 7) &&
                                   !Any(false) && All(true) && !All(Lane() != 7)));
}
TEST(Layout, ShufflesAndVotes) {
  const std::vector<float> out = RunWarp<&ShuffleKernel>(128);
  for (int lane = 0; lane < 32; ++lane) {
    EXPECT_EQ(out[lane * 4], 5);
    EXPECT_EQ(out[lane * 4 + 1], lane ^ 3);
    EXPECT_EQ(out[lane * 4 + 2], lane + 4 < 32 ? lane + 4 : lane);
    EXPECT_EQ(out[lane * 4 + 3], 1);
  }
}

TEST(Numbers, Fp16RoundTripsAndRoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const Fp16 half = {static_cast<uint16_t>(bits)};
    const float value = ToFloat(half);
    if (value != value) continue;
    ASSERT_EQ(FromFloat<Fp16>(value).bits, bits);
    // Halfway to the next magnitude: to the even of the two.
    const Fp16 next = {static_cast<uint16_t>(bits + 1)};
    if ((bits & 0x7fff) >= 0x7bff) continue;
    const float middle = 0.5f * value + 0.5f * ToFloat(next);
    ASSERT_EQ(FromFloat<Fp16>(middle).bits, bits % 2 == 0 ? bits : bits + 1);
  }
  EXPECT_EQ(FromFloat<Fp16>(65520.0f).bits, 0x7c00);
  EXPECT_EQ(FromFloat<Fp16>(65519.0f).bits, 0x7bff);
  EXPECT_EQ(ToFloat(Fp16{0x3c01}), 1.0009765625f);
  EXPECT_EQ(ToFloat(Fp16{0x0001}), 5.9604644775390625e-8f);
}

TEST(Numbers, Bf16RoundsToNearestEven) {
  EXPECT_EQ(FromFloat<Bf16>(1.00390625f).bits, 0x3f80);  // halfway, down to even
  EXPECT_EQ(FromFloat<Bf16>(1.01171875f).bits, 0x3f82);  // halfway, up to even
  EXPECT_EQ(FromFloat<Bf16>(-1.0039064f).bits, 0xbf81);
  EXPECT_EQ(ToFloat(FromFloat<Bf16>(3.0f)), 3.0f);
  const float nan = ToFloat(FromFloat<Bf16>(numbers::FloatOfBits(0x7f800001)));
  EXPECT_NE(nan, nan);
}

}  // namespace
}  // namespace tiltshift::kernels
