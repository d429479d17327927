#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/testing/gemm_case.h"
#include "kernels/testing/kernel_test.h"

namespace tiltshift::kernels {
namespace {

using testing::GemmCase;
using testing::KernelTest;

// Tails in every direction, every epilogue, small tiles and large.
const GemmCase kCases[] = {
    {.name = "plain", .shape = {128, 64, 64}},
    {.name = "one_row", .shape = {1, 1280, 320}, .activation = Activation::kSilu, .bias = true},
    {.name = "odd_tails", .shape = {77, 68, 40}, .bias = true, .residual = true, .extra_stride = 8},
    {.name = "few_columns", .shape = {70, 3, 72}, .bias = true},
    {.name = "four_columns_fp32", .shape = {130, 4, 96}, .bias = true, .float_output = true},
    {.name = "gelu", .shape = {65, 128, 128}, .activation = Activation::kGelu, .bias = true},
    {.name = "quick_gelu",
     .shape = {65, 128, 128},
     .activation = Activation::kQuickGelu,
     .bias = true},
    {.name = "relu", .shape = {65, 128, 64}, .activation = Activation::kRelu, .bias = true},
    {.name = "relu_behind_residual",
     .shape = {33, 72, 64},
     .activation = Activation::kRelu,
     .bias = true,
     .residual = true,
     .residual_first = true},
    {.name = "soft_clamp_tails",
     .shape = {33, 67, 64},
     .activation = Activation::kSoftClamp,
     .residual = true,
     .residual_first = true},
    {.name = "soft_clamp", .shape = {33, 72, 64}, .activation = Activation::kSoftClamp},
    {.name = "geglu", .shape = {100, 256, 64}, .activation = Activation::kGeglu, .bias = true},
    {.name = "geglu_tail", .shape = {33, 40, 64}, .activation = Activation::kGeglu, .bias = true},
    {.name = "samples", .shape = {192, 96, 32}, .bias = true, .samples = 3, .residual = true},
    {.name = "large_tile",
     .shape = {300, 270, 40},
     .bias = true,
     .residual = true,
     .tile = TileChoice::k128x128},
    {.name = "split",
     .shape = {70, 136, 640},
     .activation = Activation::kSilu,
     .bias = true,
     .residual = true,
     .splits = 3},
    {.name = "split_geglu",
     .shape = {70, 136, 384},
     .activation = Activation::kGeglu,
     .bias = true,
     .splits = 4},
    {.name = "split_odd", .shape = {9, 36, 320}, .bias = true, .samples = 3, .splits = 4},
    {.name = "long_sum", .shape = {64, 64, 5120}, .bias = true},
};

class GemmTest : public KernelTest, public ::testing::WithParamInterface<GemmCase> {};

TEST_P(GemmTest, Bf16LiesWithinItsBound) {
  const testing::Comparison comparison = testing::RunGemmCase<Bf16>(GetParam(), 80);
  EXPECT_LE(comparison.worst, 1) << comparison.Describe();
  EXPECT_GT(comparison.worst, 0.001) << "the bound is too loose to say anything";
}
TEST_P(GemmTest, Fp16LiesWithinItsBound) {
  const testing::Comparison comparison = testing::RunGemmCase<Fp16>(GetParam(), 80);
  EXPECT_LE(comparison.worst, 1) << comparison.Describe();
}
INSTANTIATE_TEST_SUITE_P(Shapes, GemmTest, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return info.param.name; });

using GemmBits = KernelTest;

TEST_F(GemmBits, I4_ARowHasTheSameBitsInAnyProduct) {
  GemmCase c = {
      .shape = {1500, 1030, 40}, .activation = Activation::kSilu, .bias = true, .residual = true};
  EXPECT_TRUE(testing::SameBitsAlone<Bf16>(c, 0, 64));
  EXPECT_TRUE(testing::SameBitsAlone<Bf16>(c, 1400, 100));
  EXPECT_TRUE(testing::SameBitsAlone<Bf16>(c, 777, 1));
}

TEST_F(GemmBits, I4_ARowHasTheSameBitsInAnySplitProduct) {
  EXPECT_TRUE(
      testing::SameBitsAlone<Bf16>({.shape = {150, 136, 640}, .bias = true, .splits = 3}, 77, 64));
}

TEST(Split, CutsWhereTilesAreFewAndSumsLong) {
  EXPECT_EQ(ChooseSplit(4096, 320, 320, 320), 1);
  EXPECT_EQ(ChooseSplit(4096, 640, 640, 2560), 1);
  EXPECT_EQ(ChooseSplit(1024, 640, 640, 9 * 640), 3);
  EXPECT_EQ(ChooseSplit(64, 1280, 1280, 9 * 1280), 6);
  EXPECT_EQ(ChooseSplit(64, 1280, 1280, 512), 1);
  EXPECT_GT(ChooseSplit(1024, 1280, 1280, 9 * 1280), 1) << "SDXL's most frequent convolution";
  EXPECT_EQ(ChooseSplit(16, 160, 160, 9 * 160), 1) << "no multiple of 64";
}

TEST(Tile, IsTheOneThatKeepsAllMultiprocessorsBusy) {
  EXPECT_EQ(ChooseTile(8192, 2560, 320, 1), TileChoice::k128x128);
  EXPECT_EQ(ChooseTile(2048, 640, 640, 1), TileChoice::k64x64Deep);
  EXPECT_EQ(ChooseTile(8192, 320, 320, 1), TileChoice::k64x64);
  EXPECT_EQ(ChooseTile(512, 1280, 9 * 1280, 1), TileChoice::k64x64Deep);
  EXPECT_EQ(ChooseTile(512, 1280, 9 * 1280, 6), TileChoice::k128x128);
}

TEST_F(GemmBits, I4_EveryTileGivesTheSameBits) {
  GemmCase c = {
      .shape = {150, 270, 136}, .activation = Activation::kSilu, .bias = true, .residual = true};
  const auto expect_same = [&] {
    c.tile = TileChoice::k64x64;
    const uint64_t bits = testing::BitsOf<Bf16>(c);
    for (const TileChoice tile : kAllTiles) {
      c.tile = tile;
      EXPECT_EQ(testing::BitsOf<Bf16>(c), bits) << NameOf(tile);
      EXPECT_LE(testing::RunGemmCase<Bf16>(c, 40).worst, 1) << NameOf(tile);
    }
  };
  expect_same();
  c.shape.k = 320;
  c.splits = 3;
  expect_same();
}

TEST_F(GemmBits, RefusesWhatItsLoadsCannotDo) {
  GemmArguments<Bf16> arguments = {.shape = {16, 16, 12}};
  EXPECT_EQ(Gemm<Bf16>(nullptr, arguments), cudaErrorInvalidValue);
  arguments = {.shape = {16, 16, 72}, .split = {.count = 2}};
  EXPECT_EQ(Gemm<Bf16>(nullptr, arguments), cudaErrorInvalidValue);
  arguments = {.shape = {16, 16, 16}, .x_stride = 20};
  EXPECT_EQ(Gemm<Bf16>(nullptr, arguments), cudaErrorInvalidValue);
  arguments = {.shape = {16, 16, 16},
               .epilogue = {.residual_first = true, .activation = Activation::kGeglu}};
  EXPECT_EQ(Gemm<Bf16>(nullptr, arguments), cudaErrorInvalidValue);
}

#ifdef TILTSHIFT_EMULATED
// One block of the large tile over 8 tiles of k: its budget.
TEST_F(GemmBits, CostsWhatItsTilesSay) {
  const GemmCase c = {.shape = {384, 256, 256}, .bias = true, .tile = TileChoice::k128x128};
  emulation::TheCard().TakeCounters();
  testing::RunGemmCase<Bf16>(c, 1);
  const emulation::Counters counters = emulation::TheCard().TakeCounters();
  const int64_t blocks = 3 * 2, k_tiles = 256 / 64;
  EXPECT_EQ(counters.mma, blocks * k_tiles * (128 / 16) * (128 / 8) * (64 / 16));
  // A block loads its last operands once more, for nothing.
  EXPECT_EQ(counters.load_matrix, blocks * (k_tiles * 4 + 1) * 4 * (4 + 4));
  EXPECT_EQ(counters.copy_async, blocks * k_tiles * (128 + 128) * 128 / 16 / 32);
  EXPECT_EQ(counters.barriers, blocks * (k_tiles + 2));
  EXPECT_EQ(counters.matrix_bank_conflicts, 0);
  EXPECT_EQ(counters.bank_conflicts, 0);
  // All whole but the bias: a warp reads 256 bytes of it in two requests that share their sectors.
  EXPECT_EQ(counters.sectors - counters.ideal_sectors, blocks * 4 * 2 * 4);
  EXPECT_EQ(counters.global_bytes_stored, int64_t{384} * 256 * 2);
}
#endif

}  // namespace
}  // namespace tiltshift::kernels
