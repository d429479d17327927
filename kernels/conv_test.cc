#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/testing/conv_case.h"
#include "kernels/testing/device_buffer.h"
#include "kernels/testing/kernel_test.h"

namespace tiltshift::kernels {
namespace {

using testing::ConvCase;
using testing::DeviceBuffer;
using testing::KernelTest;

ConvShape Square(int batch, int size, int channels, int out_channels) {
  return {.batch = batch,
          .height = size,
          .width = size,
          .channels = channels,
          .out_height = size,
          .out_width = size,
          .out_channels = out_channels};
}
ConvShape Strided(ConvShape shape, int pad) {
  shape.stride = 2;
  shape.pad = pad;
  shape.out_height /= 2;
  shape.out_width /= 2;
  return shape;
}
ConvShape Upsampled(ConvShape shape) {
  shape.upsample = true;
  shape.out_height *= 2;
  shape.out_width *= 2;
  return shape;
}
ConvShape Pointwise(ConvShape shape) {
  shape.kernel = 1;
  shape.pad = 0;
  return shape;
}
ConvShape Wide(int channels, int out_channels) {
  return {.batch = 1,
          .height = 5,
          .width = 9,
          .channels = channels,
          .out_height = 5,
          .out_width = 9,
          .out_channels = out_channels};
}

const ConvCase kCases[] = {
    {.name = "plain", .shape = Square(1, 8, 32, 64), .bias = true},
    {.name = "latent_in", .shape = Square(2, 9, 8, 64), .bias = true},
    {.name = "picture_out", .shape = Square(1, 12, 32, 3), .bias = true, .float_output = true},
    {.name = "channels_40", .shape = Wide(40, 24), .bias = true},
    {.name = "channels_9_chunks",
     .shape = Wide(72, 96),
     .bias = true,
     .residual = true,
     .extra_stride = 8},
    {.name = "residual_block",
     .shape = Square(3, 8, 96, 160),
     .bias = true,
     .sample_bias = true,
     .residual = true},
    {.name = "downsample_unet", .shape = Strided(Square(2, 16, 64, 64), 1), .bias = true},
    {.name = "downsample_vae", .shape = Strided(Square(1, 16, 64, 64), 0), .bias = true},
    {.name = "upsample", .shape = Upsampled(Square(2, 8, 64, 96)), .bias = true},
    {.name = "pointwise", .shape = Pointwise(Square(2, 8, 96, 64)), .bias = true, .residual = true},
    {.name = "split",
     .shape = Square(2, 8, 64, 96),
     .bias = true,
     .sample_bias = true,
     .residual = true,
     .splits = 4},
    {.name = "large_tile",
     .shape = Square(2, 12, 8, 136),
     .bias = true,
     .tile = TileChoice::k128x128},
    {.name = "large_tile_samples",
     .shape = Square(3, 9, 72, 120),
     .sample_bias = true,
     .tile = TileChoice::k128x128},
    {.name = "norm", .shape = Wide(72, 96), .prologue = true, .bias = true, .extra_stride = 8},
    {.name = "norm_silu",
     .shape = Square(2, 9, 96, 64),
     .prologue = true,
     .silu = true,
     .bias = true,
     .sample_bias = true,
     .residual = true},
    {.name = "norm_large_tile",
     .shape = Square(5, 7, 40, 136),
     .prologue = true,
     .silu = true,
     .bias = true,
     .tile = TileChoice::k128x128},
    {.name = "norm_latent_in",
     .shape = Square(3, 4, 8, 24),
     .prologue = true,
     .silu = true,
     .tile = TileChoice::k64x64Deep},
    {.name = "norm_downsample_unet",
     .shape = Strided(Square(2, 16, 64, 64), 1),
     .prologue = true,
     .silu = true},
    {.name = "norm_downsample_vae",
     .shape = Strided(Square(1, 16, 64, 64), 0),
     .prologue = true,
     .silu = true},
    {.name = "norm_upsample",
     .shape = Upsampled(Square(2, 6, 64, 40)),
     .prologue = true,
     .silu = true,
     .bias = true},
    {.name = "norm_pointwise",
     .shape = Pointwise(Square(2, 8, 320, 64)),
     .prologue = true,
     .bias = true,
     .residual = true},
    {.name = "norm_split",
     .shape = Square(2, 8, 128, 96),
     .prologue = true,
     .silu = true,
     .bias = true,
     .splits = 5},
};

class ConvTest : public KernelTest, public ::testing::WithParamInterface<ConvCase> {};

TEST_P(ConvTest, Bf16LiesWithinItsBound) {
  const testing::Comparison comparison = testing::RunConvCase<Bf16>(GetParam(), 150);
  EXPECT_LE(comparison.worst, 1) << comparison.Describe();
  EXPECT_GT(comparison.worst, 0.001) << "the bound is too loose to say anything";
}
TEST_P(ConvTest, Fp16LiesWithinItsBound) {
  const testing::Comparison comparison = testing::RunConvCase<Fp16>(GetParam(), 150);
  EXPECT_LE(comparison.worst, 1) << comparison.Describe();
}
INSTANTIATE_TEST_SUITE_P(Shapes, ConvTest, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return info.param.name; });

using ConvBits = KernelTest;

TEST_F(ConvBits, I4_ASampleHasTheSameBitsInAnyBatch) {
  EXPECT_TRUE(testing::SameBitsForEachSample<Bf16>(
      {.shape = Square(8, 9, 40, 72), .bias = true, .sample_bias = true, .residual = true}));
  // The batch takes the large tile, a sample the small one.
  EXPECT_TRUE(testing::SameBitsForEachSample<Bf16>(
      {.shape = Pointwise(Square(3, 65, 16, 120)), .bias = true}));
}

TEST_F(ConvBits, I4_EveryTileGivesTheSameBits) {
  ConvCase c = {.shape = Square(1, 17, 72, 270), .bias = true, .residual = true};
  c.tile = TileChoice::k64x64;
  const uint64_t bits = testing::BitsOf<Bf16>(c);
  for (const TileChoice tile : kAllTiles) {
    c.tile = tile;
    EXPECT_EQ(testing::BitsOf<Bf16>(c), bits) << NameOf(tile);
  }
}

TEST_F(ConvBits, I4_ASampleHasTheSameBitsInAnySplitBatch) {
  EXPECT_TRUE(testing::SameBitsForEachSample<Bf16>(
      {.shape = Square(3, 8, 64, 40), .bias = true, .splits = 5}));
}

TEST_F(ConvBits, I4_ASampleHasTheSameBitsInAnyNormedBatch) {
  EXPECT_TRUE(testing::SameBitsForEachSample<Bf16>(
      {.shape = Square(5, 5, 72, 40), .prologue = true, .silu = true}));
}

// Factors and summands are made by the norm's own kernel: which of both ways a layer goes changes
// no bit.
TEST_F(ConvBits, I4_ThePrologueGivesTheBitsOfANormBefore) {
  for (const bool silu : {false, true}) {
    for (const TileChoice tile : kAllTiles) {
      EXPECT_TRUE(testing::SameBitsAsNormedFirst<Bf16>(
          {.shape = Square(3, 7, 96, 72), .prologue = true, .silu = silu, .tile = tile}, 16))
          << NameOf(tile) << ", silu " << silu;
    }
  }
  const ConvCase upsampled = {
      .shape = Upsampled(Square(1, 6, 64, 40)), .prologue = true, .silu = true};
  EXPECT_TRUE(testing::SameBitsAsNormedFirst<Fp16>(upsampled, 8));
}

TEST(Prologue, GainsWhereEachNumberIsChangedSeldom) {
  EXPECT_TRUE(PrologueGains(Pointwise(Square(2, 64, 320, 320)), false));
  EXPECT_TRUE(PrologueGains(Pointwise(Square(2, 16, 1280, 1280)), false));
  EXPECT_FALSE(PrologueGains(Square(2, 64, 320, 320), true));
  EXPECT_FALSE(PrologueGains(Square(1, 512, 128, 128), true));
  EXPECT_TRUE(PrologueGains(Square(1, 8, 32, 32), true)) << "a launch weighs more";
}

TEST_F(ConvBits, RefusesWhatItsLoadsCannotDo) {
  EXPECT_EQ(Conv<Bf16>(nullptr, {.shape = Square(1, 8, 12, 8)}), cudaErrorInvalidValue);
  EXPECT_EQ(Conv<Bf16>(nullptr, {.shape = Square(1, 8, 16, 8), .x_stride = 20}),
            cudaErrorInvalidValue);
  const DeviceBuffer<float> affine(64);
  EXPECT_EQ(Conv<Bf16>(nullptr, {.shape = Square(1, 8, 16, 8), .prologue = {affine.get() + 1}}),
            cudaErrorInvalidValue);
}

#ifdef TILTSHIFT_EMULATED
TEST_F(ConvBits, CostsWhatItsTilesSay) {
  const ConvShape shape = Square(1, 32, 64, 128);
  const int64_t blocks = 32 * 32 / 128, k_tiles = 9 * 64 / 64;
  const auto counters_of = [&](bool prologue) {
    emulation::TheCard().TakeCounters();
    testing::RunConvCase<Bf16>({.shape = shape,
                                .prologue = prologue,
                                .silu = prologue,
                                .bias = true,
                                .tile = TileChoice::k128x128},
                               1);
    return emulation::TheCard().TakeCounters();
  };
  const emulation::Counters plain = counters_of(false), normed = counters_of(true);
  for (const emulation::Counters& counters : {plain, normed}) {
    EXPECT_EQ(counters.mma, blocks * k_tiles * (128 / 16) * (128 / 8) * (64 / 16));
    // A block loads its last operands once more, for nothing.
    EXPECT_EQ(counters.load_matrix, blocks * (k_tiles * 4 + 1) * 4 * (4 + 4));
    EXPECT_EQ(counters.barriers, blocks * (k_tiles + 2));
    EXPECT_EQ(counters.matrix_bank_conflicts, 0);
    EXPECT_EQ(counters.bank_conflicts, 0);
    EXPECT_EQ(counters.global_bytes_stored, int64_t{32} * 32 * 128 * 2);
  }
  // Each chunk of A once from shared memory and back, a warp's eight at a time; each thread its
  // factors and summands.
  EXPECT_EQ(normed.shared_loads - plain.shared_loads, blocks * k_tiles * 4 * 8);
  EXPECT_EQ(normed.shared_stores - plain.shared_stores, blocks * k_tiles * 4 * 8);
  EXPECT_EQ(normed.global_bytes_loaded - plain.global_bytes_loaded,
            blocks * k_tiles * 128 * (2 * 8 * 4));
  // All whole but the bias, and those: four requests a warp, each of halves of eight sectors.
  const auto excess = [](const emulation::Counters& c) { return c.sectors - c.ideal_sectors; };
  EXPECT_EQ(excess(plain), blocks * 4 * 2 * 4);
  EXPECT_EQ(excess(normed), excess(plain) + blocks * k_tiles * 4 * 4 * 4);
}
#endif

}  // namespace
}  // namespace tiltshift::kernels
