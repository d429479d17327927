// Every layer of SD 1.5, SD 2.1, SDXL and the built-in model against fp64, at its own widths: what
// the other tests' small shapes can't show is the error of long sums. Nothing is tracked: they do.
#include "kernels/testing/model_layers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/testing/kernel_test.h"

namespace tiltshift::kernels {
namespace {

using testing::AllModelLayers;
using testing::Comparison;

template <class Case>
class Layers : public testing::CardTest, public ::testing::WithParamInterface<Case> {};
const auto kNames = [](const auto& info) { return info.param.name; };

void ExpectWithin(const Comparison& comparison, double tightness) {
  EXPECT_LE(comparison.worst, 1) << comparison.Describe();
  EXPECT_GT(comparison.worst, tightness) << "the bound is too loose to say anything";
}

using GemmLayers = Layers<testing::GemmCase>;
TEST_P(GemmLayers, LieWithinTheirBounds) {
  constexpr int kRows = 3;
  ExpectWithin(testing::RunGemmCase<Bf16>(GetParam(), kRows), 0.1);
  ExpectWithin(testing::RunGemmCase<Fp16>(GetParam(), kRows), 0.01);
}
INSTANTIATE_TEST_SUITE_P(Models, GemmLayers, ::testing::ValuesIn(AllModelLayers().gemms), kNames);

using ConvLayers = Layers<testing::ConvCase>;
TEST_P(ConvLayers, LieWithinTheirBounds) {
  constexpr int kPositions = 3;
  const double tightness = GetParam().float_output ? 1e-5 : 0.01;
  ExpectWithin(testing::RunConvCase<Bf16>(GetParam(), kPositions), tightness);
  ExpectWithin(testing::RunConvCase<Fp16>(GetParam(), kPositions), tightness);
}
INSTANTIATE_TEST_SUITE_P(Models, ConvLayers, ::testing::ValuesIn(AllModelLayers().convs), kNames);

using AttentionLayers = Layers<testing::AttentionCase>;
TEST_P(AttentionLayers, LieWithinTheirBounds) {
  constexpr int kRows = 10;
  ExpectWithin(testing::RunAttentionCase<Bf16>(GetParam(), kRows), 0.01);
  ExpectWithin(testing::RunAttentionCase<Fp16>(GetParam(), kRows), 0.01);
}
INSTANTIATE_TEST_SUITE_P(Models, AttentionLayers, ::testing::ValuesIn(AllModelLayers().attentions),
                         kNames);

using NormLayers = Layers<testing::NormCase>;
TEST_P(NormLayers, LieWithinTheirBounds) {
  ExpectWithin(testing::RunNormCase<Bf16>(GetParam()), 0.4);
  ExpectWithin(testing::RunNormCase<Fp16>(GetParam()), 0.1);
}
INSTANTIATE_TEST_SUITE_P(Models, NormLayers, ::testing::ValuesIn(AllModelLayers().norms), kNames);

template <class Case>
std::vector<std::string> NamesOf(const std::vector<Case>& cases) {
  std::vector<std::string> names;
  for (const Case& c : cases) names.push_back(c.name);
  return names;
}
// As somebody finds them in the models: the longest sums, what SDXL alone has, the built-in
// model's.
TEST(ModelLayers, AreThose) {
  using ::testing::IsSupersetOf;
  EXPECT_THAT(
      NamesOf(AllModelLayers().gemms),
      IsSupersetOf({"sd15_geglu_1280_10240", "sd15_down_5120_1280_split", "sdxl_text_kv_2048_2560",
                    "sdxl_added_2816_1280_split", "diorama_q_96_96"}));
  EXPECT_THAT(NamesOf(AllModelLayers().convs),
              IsSupersetOf({"sd15_conv_2560_1280_split", "sd15_conv_1920_640_split",
                            "sdxl_conv_640_640", "diorama_conv_320_160_split_normed"}));
  EXPECT_THAT(NamesOf(AllModelLayers().attentions),
              IsSupersetOf({"sd15_self_40_4096", "sd15_self_160_64", "sd21_self_64_9216",
                            "sdxl_picture_512_16384", "sd15_text_160_77", "diorama_self_24_256"}));
  EXPECT_THAT(NamesOf(AllModelLayers().norms),
              IsSupersetOf({"sd15_norm_silu_2560_32", "sd21_layer_norm_1024"}));
}

}  // namespace
}  // namespace tiltshift::kernels
