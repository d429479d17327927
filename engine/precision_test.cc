// What each precision costs in exactness, on the built-in model: docs/performance.md has the figures of
// `engine_bench --error`, which are of more prompts and steps.
#include <gtest/gtest.h>

#include "engine/backend.h"
#include "engine/testing/precision_error.h"

namespace tiltshift::engine {
namespace {

testing::PrecisionError Measure(Precision precision) {
  const auto error = testing::MeasurePrecision(
      precision, {.model = TILTSHIFT_SOURCE_DIR "/models/diorama", .size = 128, .steps = 6, .prompts = 2});
  EXPECT_TRUE(error.ok()) << error.status();
  return error.ok() ? *error : testing::PrecisionError{};
}

// Where fp32 is made of bf16's products each is off by some 3e-6, which a forward's hundreds carry on and guidance
// multiplies.
TEST(PrecisionTest, Fp32IsFp32) {
  const testing::PrecisionError error = Measure(Precision::kFp32);
  EXPECT_LT(error.worst_latent, 1e-4);
  EXPECT_GT(error.worst_psnr, 65);
}

TEST(PrecisionTest, Bf16IsNear) {
  if (!MakeCpuBackend()->HasBf16()) GTEST_SKIP() << "no bf16 on this processor";
  const testing::PrecisionError error = Measure(Precision::kBf16);
  EXPECT_GT(error.worst_latent, 1e-4) << "this is not bf16";
  EXPECT_LT(error.worst_latent, 5e-2);
  EXPECT_GT(error.worst_psnr, 30);
}

}  // namespace
}  // namespace tiltshift::engine
