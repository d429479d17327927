#include "kernels/attention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/testing/attention_case.h"
#include "kernels/testing/kernel_test.h"

namespace tiltshift::kernels {
namespace {

using testing::AttentionCase;
using testing::KernelTest;

AttentionCase Self(std::string name, int heads, int head_dim, int rows) {
  return {.name = std::move(name),
          .shape = {.heads = heads, .head_dim = head_dim, .queries = rows, .keys = rows},
          .packed = true};
}
AttentionCase Text(std::string name, int heads, int head_dim, int queries, int keys) {
  return {.name = std::move(name),
          .shape = {.heads = heads, .head_dim = head_dim, .queries = queries, .keys = keys}};
}
AttentionCase Causal(std::string name, int heads, int head_dim, int rows) {
  AttentionCase result = Self(std::move(name), heads, head_dim, rows);
  result.shape.causal = true;
  return result;
}
AttentionCase Rising(std::string name, int head_dim, int queries, int keys) {
  AttentionCase result = Text(std::move(name), 1, head_dim, queries, keys);
  result.rising = true;
  return result;
}
AttentionCase With(AttentionCase result, int batch, float sharpness, bool offsets) {
  result.shape.batch = batch;
  result.sharpness = sharpness;
  result.offsets = offsets;
  return result;
}

// The head dims of SD 1.5 (40, 80, 160), SD 2.1 and SDXL (64), the text encoders (64, 32) and the
// built-in model (24, 40, 128), with fewer heads and rows than theirs: tiles are the same.
const AttentionCase kCases[] = {
    Self("self_40", 2, 40, 300),
    Self("self_80", 2, 80, 256),
    Self("self_160", 1, 160, 256),
    Self("self_160_of_8x8", 2, 160, 64),
    Self("self_64", 2, 64, 257),
    Self("self_24", 2, 24, 130),
    Self("self_32", 2, 32, 81),
    Self("self_128", 1, 128, 200),
    Self("self_512", 1, 512, 200),
    Text("few_keys_512", 1, 512, 65, 7),
    Rising("rising_512", 512, 64, 300),
    Text("many_keys_40", 1, 40, 20, 4096),
    Text("many_keys_64", 1, 64, 20, 4096),
    Text("text_40", 3, 40, 130, 77),
    Text("text_64", 2, 64, 65, 77),
    Text("text_80", 2, 80, 70, 77),
    Text("text_160", 2, 160, 64, 77),
    Text("text_24", 1, 24, 33, 77),
    Text("text_128", 1, 128, 33, 80),
    Text("long_text_40", 1, 40, 70, 154),
    Text("long_text_64", 2, 64, 33, 231),
    Text("long_text_80", 1, 80, 33, 231),
    Text("long_text_24", 1, 24, 33, 81),
    Text("long_text_128", 1, 128, 33, 154),
    Text("too_long_text_64", 1, 64, 33, 241),
    Causal("causal_24_long", 1, 24, 200),
    Text("long_text_160", 1, 160, 64, 308),
    Text("one_query", 1, 64, 1, 2),
    Causal("causal_64", 2, 64, 77),
    Causal("causal_32", 2, 32, 77),
    Causal("causal_64_long", 1, 64, 300),
    Rising("rising_40", 40, 40, 700),
    Rising("rising_64", 64, 40, 700),
    With(Self("sharp_64", 2, 64, 150), 2, 8, true),
    With(Text("flat_80", 2, 80, 50, 200), 3, 0.05f, false),
};

class AttentionTest : public KernelTest, public ::testing::WithParamInterface<AttentionCase> {};

TEST_P(AttentionTest, Bf16LiesWithinItsBound) {
  const testing::Comparison comparison = testing::RunAttentionCase<Bf16>(GetParam(), 40);
  EXPECT_LE(comparison.worst, 1) << comparison.Describe();
  EXPECT_GT(comparison.worst, 0.01) << "the bound is too loose to say anything";
}
TEST_P(AttentionTest, Fp16LiesWithinItsBound) {
  const testing::Comparison comparison = testing::RunAttentionCase<Fp16>(GetParam(), 40);
  EXPECT_LE(comparison.worst, 1) << comparison.Describe();
  EXPECT_GT(comparison.worst, 0.01) << "the bound is too loose to say anything";
}
INSTANTIATE_TEST_SUITE_P(Shapes, AttentionTest, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return info.param.name; });

using AttentionBits = KernelTest;

TEST_F(AttentionBits, I4_ASampleHasTheSameBitsInAnyBatch) {
  EXPECT_TRUE(testing::SameBitsForEachSample<Bf16>(With(Self("", 2, 40, 150), 8, 2, false)));
  EXPECT_TRUE(testing::SameBitsForEachSample<Bf16>(With(Self("", 1, 160, 100), 3, 2, true)));
  EXPECT_TRUE(testing::SameBitsForEachSample<Bf16>(With(Self("", 1, 512, 70), 3, 2, false)));
  // Batches of so many tiles go through groups of several, single samples do not.
  EXPECT_TRUE(testing::SameBitsForEachSample<Fp16>(With(Text("", 8, 24, 1030, 77), 8, 2, false)));
}

TEST_F(AttentionBits, RefusesWhatItsLoadsCannotDo) {
  AttentionArguments<Bf16> arguments = {.shape = {.head_dim = 48, .queries = 16, .keys = 16}};
  EXPECT_EQ(Attention<Bf16>(nullptr, arguments), cudaErrorInvalidValue);
  arguments.shape = {.head_dim = 512, .queries = 16, .keys = 16, .causal = true};
  EXPECT_EQ(Attention<Bf16>(nullptr, arguments), cudaErrorInvalidValue);
  arguments.shape.head_dim = 64;
  arguments.k_stride = 68;
  EXPECT_EQ(Attention<Bf16>(nullptr, arguments), cudaErrorInvalidValue);
}

#ifdef TILTSHIFT_EMULATED
struct Budget {
  AttentionCase c;
  int64_t mma, load_matrix, copies, barriers;
  int64_t extra_sectors = 0;
};
void PrintTo(const Budget& budget, std::ostream* out) { *out << budget.c.name; }

// Two tiles of queries over four blocks of 64 keys; and two over a text's keys, padded to 80. mma:
// (rows / 16) x (keys / 16) x (q k^T: 2 tiles of keys x steps of d; p v: tiles of d).
const Budget kBudgets[] = {
    {.c = Self("self_40", 1, 40, 256),
     .mma = 16 * 16 * (2 * 3 + 5),
     .load_matrix = 2 * 4 * (3 * 2 + 4 * (3 * 4 + 4 * 3)),
     .copies = 2 * (4 * 2 * 4 + 8) * 3,
     .barriers = 2 * 6,
     // A row of 80 bytes begins within a sector every other time: 16 rows' copies touch 48 for 40.
     .extra_sectors = 832},
    {.c = Self("self_64", 1, 64, 256),
     .mma = 16 * 16 * (2 * 4 + 8),
     .load_matrix = 2 * 4 * (4 * 2 + 4 * (4 * 4 + 4 * 4)),
     .copies = 2 * (4 * 2 * 16 + 32),
     .barriers = 2 * 6},
    {.c = Self("self_80", 1, 80, 256),
     .mma = 16 * 16 * (2 * 5 + 10),
     .load_matrix = 2 * 4 * (5 * 2 + 4 * (5 * 4 + 4 * 5)),
     .copies = 2 * (4 * 2 * 8 + 16) * 3,
     .barriers = 2 * 6},
    {.c = Self("self_160", 1, 160, 256),
     .mma = 16 * 16 * (2 * 10 + 20),
     .load_matrix = 4 * 4 * (10 + 4 * (10 * 4 + 4 * 10)),
     .copies = 4 * (4 * 2 * 16 + 16) * 3,
     .barriers = 4 * 6},
    {.c = Self("self_512", 1, 512, 128),
     .mma = 8 * 8 * (2 * 32 + 64),
     .load_matrix = 2 * 8 * 2 * (32 * 3 + 4 * (4 + 2 * 2)),
     .copies = 2 * (2 * 16 * 2 + 16) * 8,
     .barriers = 2 * (2 * 17 + 2)},
    {.c = Text("text_64", 1, 64, 128, 77),
     .mma = 8 * 5 * (2 * 4 + 8),
     .load_matrix = 2 * 4 * (4 + 5 * 4 + 5 * 4),
     .copies = 2 * (2 * 20 + 16),
     .barriers = 2},
    {.c = Text("long_text_64", 1, 64, 128, 231),
     .mma = 8 * 15 * (2 * 4 + 8),
     .load_matrix = 2 * 4 * (4 + 3 * (5 * 4 + 5 * 4)),
     .copies = 2 * (3 * 2 * 20 - 2 * 2 + 16),  // the last 9 keys are two warps' zeros and a bit
     .barriers = 2},
};

class AttentionBudget : public KernelTest, public ::testing::WithParamInterface<Budget> {};

TEST_P(AttentionBudget, CostsWhatItsTilesSay) {
  const Budget& budget = GetParam();
  emulation::TheCard().TakeCounters();
  testing::RunAttentionCase<Bf16>(budget.c, 1);
  const emulation::Counters counters = emulation::TheCard().TakeCounters();
  EXPECT_EQ(counters.mma, budget.mma);
  EXPECT_EQ(counters.load_matrix, budget.load_matrix);
  EXPECT_EQ(counters.copy_async, budget.copies);
  EXPECT_EQ(counters.barriers, budget.barriers);
  EXPECT_EQ(counters.matrix_bank_conflicts, 0);
  EXPECT_EQ(counters.bank_conflicts, 0);
  EXPECT_EQ(counters.sectors - counters.ideal_sectors, budget.extra_sectors);
  EXPECT_EQ(counters.global_bytes_stored,
            int64_t{2} * budget.c.shape.queries * budget.c.shape.head_dim);
}
INSTANTIATE_TEST_SUITE_P(Tiles, AttentionBudget, ::testing::ValuesIn(kBudgets),
                         [](const auto& info) { return info.param.c.name; });
#endif

}  // namespace
}  // namespace tiltshift::kernels
