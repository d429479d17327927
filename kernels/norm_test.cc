#include "kernels/norm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/testing/kernel_test.h"
#include "kernels/testing/norm_case.h"

namespace tiltshift::kernels {
namespace {

using testing::KernelTest;
using testing::NormCase;

NormCase Group(std::string name, int positions, int channels, int groups, bool silu = false) {
  return {.name = std::move(name),
          .shape = {.batch = 2, .positions = positions, .channels = channels, .groups = groups},
          .silu = silu};
}
NormCase Layer(std::string name, int rows, int channels, float mean = 0.5f) {
  return {.name = std::move(name),
          .shape = {.positions = rows, .channels = channels, .groups = 0},
          .mean = mean};
}
NormCase Far(NormCase result) {
  result.mean = 24;
  return result;
}
NormCase Wide(NormCase result) {
  result.extra_stride = 24;
  return result;
}

// The channels of SD 1.5 (320 to 2,560), SDXL, their VAE (128 to 512) and the built-in model (32 to
// 160), at fewer positions.
const NormCase kCases[] = {
    Group("sd_320", 256, 320, 32, true),
    Group("sd_640", 77, 640, 32, true),
    Group("sd_960", 60, 960, 32),
    Group("sd_1280", 64, 1280, 32, true),
    Group("sd_1920", 40, 1920, 32, true),
    Group("sd_2560", 33, 2560, 32),
    Group("vae_128", 1100, 128, 32, true),
    Group("vae_256", 150, 256, 32, true),
    Group("vae_512", 100, 512, 32, true),
    Group("vae_many_positions", (1 << 15) + 100, 8, 2, true),
    Group("built_in_32", 300, 32, 16, true),
    Group("built_in_96", 130, 96, 16, true),
    Group("built_in_160", 65, 160, 16),
    Group("one_position", 1, 64, 16),
    Far(Group("far_mean", 300, 320, 32)),
    Wide(Group("wide", 50, 64, 8, true)),
    Layer("layer_320", 33, 320),
    Layer("layer_640", 9, 640),
    Layer("layer_768", 7, 768),
    Layer("layer_1024", 5, 1024),
    Layer("layer_1280", 6, 1280),
    Layer("layer_2048", 5, 2048),
    Layer("layer_96", 6, 96),
    Layer("layer_8", 6, 8),
    Layer("layer_far_mean", 20, 640, 24),
    Wide(Layer("layer_wide", 20, 160)),
};

class NormTest : public KernelTest, public ::testing::WithParamInterface<NormCase> {};

TEST_P(NormTest, Bf16LiesWithinItsBound) {
  const testing::Comparison comparison = testing::RunNormCase<Bf16>(GetParam());
  EXPECT_LE(comparison.worst, 1) << comparison.Describe();
  EXPECT_GT(comparison.worst, 0.4) << "the bound is too loose to say anything";
}
TEST_P(NormTest, Fp16LiesWithinItsBound) {
  const testing::Comparison comparison = testing::RunNormCase<Fp16>(GetParam());
  EXPECT_LE(comparison.worst, 1) << comparison.Describe();
  EXPECT_GT(comparison.worst, 0.1) << "the bound is too loose to say anything";
}
INSTANTIATE_TEST_SUITE_P(Shapes, NormTest, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return info.param.name; });

using NormBits = KernelTest;

TEST_F(NormBits, I4_ASampleHasTheSameBitsInAnyBatch) {
  NormCase c = Group("", 150, 320, 32, true);
  c.shape.batch = 8;
  EXPECT_TRUE(testing::SameBitsForEachSample<Bf16>(c));
  c = Layer("", 7, 640);
  c.shape.batch = 5;
  EXPECT_TRUE(testing::SameBitsForEachSample<Fp16>(c));
}

TEST_F(NormBits, TheLastBlockFinishesAsALaunchOfItsOwnWould) {
  NormCase c = Group("", 300, 320, 32, true);
  c.shape.batch = 3;
  const uint64_t bits = testing::BitsOf<Bf16>(c);
  c.arrivals = false;
  EXPECT_EQ(testing::BitsOf<Bf16>(c), bits);
}

TEST_F(NormBits, RefusesWhatItsLoadsCannotDo) {
  GroupNormArguments<Bf16> group = {.shape = {.positions = 16, .channels = 20, .groups = 4}};
  EXPECT_EQ(GroupNorm<Bf16>(nullptr, group), cudaErrorInvalidValue);
  group.shape.channels = 24;
  EXPECT_EQ(GroupNorm<Bf16>(nullptr, group), cudaErrorInvalidValue);  // nowhere to put the affine
  const LayerNormArguments<Bf16> layer = {.rows = 1, .channels = 2056};
  EXPECT_EQ(LayerNorm<Bf16>(nullptr, layer), cudaErrorInvalidValue);
}

#ifdef TILTSHIFT_EMULATED
TEST_F(NormBits, MovesNoByteTwice) {
  constexpr int64_t kPositions = 4 * 48, kChannels = 320, kGroups = 32, kChunks = 4;
  NormCase c = Group("", kPositions, kChannels, kGroups, true);
  c.shape.batch = 1;
  emulation::TheCard().TakeCounters();
  testing::RunNormCase<Bf16>(c);
  emulation::Counters counters = emulation::TheCard().TakeCounters();
  const int64_t affine = 2 * kChannels * 4, rows = 6;
  // x twice, each group's moments twice by the last block, scale and shift, the affine by every row
  // of threads.
  EXPECT_EQ(counters.global_bytes_loaded, 2 * kPositions * kChannels * 2 +
                                              2 * kGroups * kChunks * 8 + affine +
                                              kChunks * rows * affine + kChunks * 4);
  EXPECT_EQ(counters.global_bytes_stored,
            kPositions * kChannels * 2 + kGroups * kChunks * 8 + affine + 4);
  EXPECT_EQ(counters.atomics, kChunks);
  EXPECT_EQ(counters.bank_conflicts, 0);

  c = Layer("", 16, 1280);
  testing::RunNormCase<Bf16>(c);
  counters = emulation::TheCard().TakeCounters();
  EXPECT_EQ(counters.global_bytes_loaded, 16 * 1280 * 2 + 16 / 2 * 1280 * 8);  // two rows a warp
  EXPECT_EQ(counters.global_bytes_stored, 16 * 1280 * 2);
  EXPECT_EQ(counters.shuffles, 16 * 2 * 5);
}
#endif

}  // namespace
}  // namespace tiltshift::kernels
