// LoRA files: how their tensors are called, and what is wrong with bad ones.
#include "engine/lora_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/lora_keys.h"
#include "engine/lora_targets.h"
#include "engine/testing/tensor_file.h"

namespace tiltshift::engine {
namespace {

using ::testing::HasSubstr;

std::string Write(const TensorFile& file) {
  const std::string path = ::testing::TempDir() + "lora_" +
                           ::testing::UnitTest::GetInstance()->current_test_info()->name() +
                           ".safetensors";
  EXPECT_TRUE(WriteFileAtomic(path, file.Bytes(), IfPresent::kReplace).ok());
  return path;
}

std::vector<float> Ones(int64_t count) { return std::vector<float>(count, 1.0f); }

TensorFile OneLayer(const std::vector<int64_t>& down, const std::vector<int64_t>& up) {
  const auto count = [](const std::vector<int64_t>& shape) {
    int64_t product = 1;
    for (const int64_t dim : shape) product *= dim;
    return product;
  };
  TensorFile file;
  file.AddFloats("unet.a.lora_A.weight", down, Ones(count(down)));
  file.AddFloats("unet.a.lora_B.weight", up, Ones(count(up)));
  return file;
}

void ExpectError(const TensorFile& file, absl::StatusCode code, const std::string& message) {
  const std::string path = Write(file);
  const absl::Status status = LoraFile::Open(path).status();
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(Message(status), HasSubstr(path));
  EXPECT_THAT(Message(status), HasSubstr(message));
}

TEST(LoraKeysTest, EverySpellingOfALayer) {
  const std::tuple<const char*, const char*, LoraFactor> keys[] = {
      {"unet.mid_block.attentions.0.proj_in.lora_A.weight", "unet.mid_block.attentions.0.proj_in",
       LoraFactor::kDown},
      {"base_model.model.conv_in.lora_B.default.weight", "conv_in", LoraFactor::kUp},
      {"unet.x.attn1.to_out.0.lora.down.weight", "unet.x.attn1.to_out.0", LoraFactor::kDown},
      {"unet.x.attn1.processor.to_q_lora.up.weight", "unet.x.attn1.to_q", LoraFactor::kUp},
      {"unet.x.attn2.processor.to_out_lora.down.weight", "unet.x.attn2.to_out.0",
       LoraFactor::kDown},
      {"text_encoder.text_model.encoder.layers.3.self_attn.to_out_lora.up.weight",
       "text_encoder.text_model.encoder.layers.3.self_attn.out_proj", LoraFactor::kUp},
      {"text_encoder_2.text_model.encoder.layers.3.mlp.fc1.lora_linear_layer.down.weight",
       "text_encoder_2.text_model.encoder.layers.3.mlp.fc1", LoraFactor::kDown},
      {"lora_unet_conv_in.lora_mid.weight", "lora_unet_conv_in", LoraFactor::kMid},
      {"lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha",
       "lora_te1_text_model_encoder_layers_0_mlp_fc1", LoraFactor::kAlpha}};
  for (const auto& [key, layer, factor] : keys) {
    const auto parsed = ParseLoraKey(key);
    ASSERT_TRUE(parsed.ok() && parsed->has_value()) << key;
    EXPECT_EQ((*parsed)->layer, layer) << key;
    EXPECT_EQ((*parsed)->factor, factor) << key;
  }
  EXPECT_FALSE(ParseLoraKey("unet.conv_in.weight")->has_value());
}

// What diffusers makes of kohya's keys for SDXL, turned around.
TEST(LoraKeysTest, OriginalNamesOfStableDiffusion) {
  UNetConfig sdxl;
  sdxl.block_out_channels = {320, 640, 1280};
  sdxl.layers_per_block = {2, 2, 2};
  sdxl.up_attention = {true, true, false};
  const std::pair<const char*, const char*> names[] = {
      {"conv_in", "input_blocks.0.0"},
      {"conv_out", "out.2"},
      {"time_embedding.linear_2", "time_embed.2"},
      {"add_embedding.linear_1", "label_emb.0.0"},
      {"down_blocks.0.resnets.1.conv1", "input_blocks.2.0.in_layers.2"},
      {"down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"},
      {"down_blocks.1.attentions.0.proj_in", "input_blocks.4.1.proj_in"},
      {"down_blocks.2.resnets.0.conv_shortcut", "input_blocks.7.0.skip_connection"},
      {"down_blocks.2.attentions.1.transformer_blocks.9.attn2.to_k",
       "input_blocks.8.1.transformer_blocks.9.attn2.to_k"},
      {"mid_block.resnets.0.time_emb_proj", "middle_block.0.emb_layers.1"},
      {"mid_block.attentions.0.proj_out", "middle_block.1.proj_out"},
      {"mid_block.resnets.1.conv2", "middle_block.2.out_layers.3"},
      {"up_blocks.0.attentions.2.proj_in", "output_blocks.2.1.proj_in"},
      {"up_blocks.0.upsamplers.0.conv", "output_blocks.2.2.conv"},
      {"up_blocks.2.resnets.2.conv1", "output_blocks.8.0.in_layers.2"}};
  for (const auto& [layer, original] : names) EXPECT_EQ(OriginalUNetName(layer, sdxl), original);
  sdxl.up_attention = {false, true, true};  // Stable Diffusion 1's first up block has none
  EXPECT_EQ(OriginalUNetName("up_blocks.0.upsamplers.0.conv", sdxl), "output_blocks.2.1.conv");
}

TEST(LoraFileTest, ScaleIsAlphaOverRank) {
  TensorFile file = OneLayer({4, 6}, {8, 4});
  EXPECT_EQ(LoraFile::Open(Write(file))->layers().at("unet.a").scale, 1.0f);
  file.AddFloats("unet.a.alpha", {}, {6.0f});
  EXPECT_EQ(LoraFile::Open(Write(file))->layers().at("unet.a").scale, 1.5f);

  // diffusers' convert_state_dict_to_kohya writes a whole number.
  TensorFile whole = OneLayer({4, 6}, {8, 4});
  whole.Add("unet.a.alpha", "I64", {}, std::string("\2\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(LoraFile::Open(Write(whole))->layers().at("unet.a").scale, 0.5f);

  TensorFile peft = OneLayer({4, 6}, {8, 4});
  peft.SetMetadata("lora_adapter_metadata",
                   R"({"unet.lora_alpha":2,"unet.alpha_pattern":{"b":7}})");
  EXPECT_EQ(LoraFile::Open(Write(peft))->layers().at("unet.a").scale, 0.5f);
  peft.SetMetadata("lora_adapter_metadata",
                   R"({"unet.lora_alpha":2,"unet.alpha_pattern":{"a":8}})");
  EXPECT_EQ(LoraFile::Open(Write(peft))->layers().at("unet.a").scale, 2.0f);
  peft.SetMetadata("lora_adapter_metadata", R"({"unet.lora_alpha":2,"unet.use_rslora":true})");
  EXPECT_EQ(LoraFile::Open(Write(peft))->layers().at("unet.a").scale, 1.0f);
}

TEST(LoraFileTest, FactorsThatDoNotFitEachOther) {
  ExpectError(OneLayer({4, 6}, {8, 5}), absl::StatusCode::kDataLoss,
              "unet.a: down is [4, 6] and up [8, 5]: their ranks differ");
  ExpectError(OneLayer({4, 6}, {8, 4, 3, 3}), absl::StatusCode::kDataLoss,
              "its kernel must be 1x1");
  ExpectError(OneLayer({4, 6}, {32}), absl::StatusCode::kDataLoss,
              "unet.a: up is [32]; it must have 2 or 4 dimensions");
  ExpectError(OneLayer({0, 6}, {8, 0}), absl::StatusCode::kDataLoss,
              "unet.a: down is [0, 6]: empty");
  TensorFile half;
  half.AddFloats("unet.a.lora_A.weight", {1, 2}, Ones(2));
  ExpectError(half, absl::StatusCode::kDataLoss, "unet.a: has no factor up (lora_B)");
  TensorFile twice = OneLayer({4, 6}, {8, 4});
  twice.AddFloats("unet.a.lora.down.weight", {4, 6}, Ones(24));
  ExpectError(twice, absl::StatusCode::kInvalidArgument,
              "a factor that the file has already, in another spelling");
  TensorFile mid = OneLayer({4, 6}, {8, 3});
  mid.AddFloats("unet.a.lora_mid.weight", {3, 5, 3, 3}, Ones(135));
  ExpectError(mid, absl::StatusCode::kDataLoss,
              "down is [4, 6] and mid [3, 5, 3, 3]: their ranks differ");
}

TEST(LoraFileTest, NumbersThatAreNone) {
  TensorFile nan;
  nan.AddFloats("unet.a.lora_A.weight", {1, 3}, {1, 2, std::nanf("")});
  nan.AddFloats("unet.a.lora_B.weight", {1, 1}, {1});
  ExpectError(nan, absl::StatusCode::kDataLoss,
              "unet.a: down [1, 3]: element 2 is NaN or infinite");
  TensorFile alpha = OneLayer({1, 1}, {1, 1});
  alpha.AddFloats("unet.a.alpha", {}, {std::numeric_limits<float>::infinity()});
  ExpectError(alpha, absl::StatusCode::kDataLoss, "unet.a: alpha (F32 []) is no number");
  TensorFile large = OneLayer({1, 1}, {1, 1});
  large.Add("unet.a.alpha", "I64", {}, std::string(8, '\x7f'));
  ExpectError(large, absl::StatusCode::kDataLoss, "unet.a: alpha (I64 []) is no number of at most");
  TensorFile small = OneLayer({1, 1}, {1, 1});
  small.Add("unet.a.alpha", "I16", {}, "ab");
  ExpectError(small, absl::StatusCode::kDataLoss, "unet.a: alpha (I16 []) is no number of at most");
  TensorFile whole;
  whole.Add("unet.a.lora_A.weight", "I8", {1, 1}, "x");
  whole.AddFloats("unet.a.lora_B.weight", {1, 1}, {1});
  ExpectError(whole, absl::StatusCode::kDataLoss, "unet.a: down has dtype I8");
}

TEST(LoraFileTest, WhatIsNoLora) {
  TensorFile other;
  other.AddFloats("model.diffusion_model.out.2.weight", {1}, {1});
  ExpectError(other, absl::StatusCode::kInvalidArgument,
              "tensors of no LoRA: \"model.diffusion_model.out.2.weight\"");
  ExpectError(TensorFile(), absl::StatusCode::kInvalidArgument, "holds no tensors");
  TensorFile loha;
  loha.AddFloats("lora_unet_conv_in.hada_w1_a", {1}, {1});
  ExpectError(loha, absl::StatusCode::kUnimplemented, "a LoHa's");
  TensorFile dora = OneLayer({1, 1}, {1, 1});
  dora.SetMetadata("lora_adapter_metadata", R"({"unet.use_dora":true})");
  ExpectError(dora, absl::StatusCode::kUnimplemented, "is a DoRA");
  TensorFile damaged = OneLayer({1, 1}, {1, 1});
  damaged.SetMetadata("lora_adapter_metadata", R"({"unet.lora_alpha":"two"})");
  ExpectError(damaged, absl::StatusCode::kDataLoss, "\"unet.lora_alpha\" is not as PEFT writes it");
  EXPECT_EQ(LoraFile::Open("/nowhere/x.safetensors").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace tiltshift::engine
