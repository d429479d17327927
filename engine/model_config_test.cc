#include "engine/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "nlohmann/json.hpp"
#include "tests/support/folder_test.h"

namespace tiltshift::engine {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Stable Diffusion 1.5's, as published.
constexpr char kSd15Unet[] = R"({
  "_class_name": "UNet2DConditionModel", "_diffusers_version": "0.6.0", "act_fn": "silu",
  "attention_head_dim": 8,
  "block_out_channels": [320, 640, 1280, 1280], "center_input_sample": false,
  "cross_attention_dim": 768,
  "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D",
  "DownBlock2D"],
  "downsample_padding": 1, "flip_sin_to_cos": true, "freq_shift": 0, "in_channels": 4,
  "layers_per_block": 2,
  "mid_block_scale_factor": 1, "norm_eps": 1e-05, "norm_num_groups": 32, "out_channels": 4,
  "sample_size": 64,
  "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D",
  "CrossAttnUpBlock2D"]})";
constexpr char kSd15Vae[] = R"({
  "_class_name": "AutoencoderKL", "act_fn": "silu", "block_out_channels": [128, 256, 512, 512],
  "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D",
  "DownEncoderBlock2D"],
  "in_channels": 3, "latent_channels": 4, "layers_per_block": 2, "norm_num_groups": 32,
  "out_channels": 3,
  "sample_size": 512,
  "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D",
  "UpDecoderBlock2D"]})";
constexpr char kSd15Text[] = R"({
  "architectures": ["CLIPTextModel"], "attention_dropout": 0.0, "bos_token_id": 0, "dropout": 0.0,
  "eos_token_id": 2, "hidden_act": "quick_gelu", "hidden_size": 768, "initializer_factor": 1.0,
  "intermediate_size": 3072, "layer_norm_eps": 1e-05, "max_position_embeddings": 77, "model_type":
  "clip_text_model",
  "num_attention_heads": 12, "num_hidden_layers": 12, "pad_token_id": 1, "projection_dim": 768,
  "torch_dtype": "float32", "vocab_size": 49408})";
constexpr char kSd15Noise[] = R"({
  "_class_name": "PNDMScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear",
  "beta_start": 0.00085,
  "num_train_timesteps": 1000, "set_alpha_to_one": false, "skip_prk_steps": true, "steps_offset": 1,
  "trained_betas": null, "clip_sample": false})";
// What diffusers saves of DPMSolverMultistepScheduler: -Infinity is Python's, not JSON's.
constexpr char kDpmNoise[] = R"({
  "_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver++", "beta_end": 0.012,
  "beta_schedule": "scaled_linear", "beta_start": 0.00085, "dynamic_thresholding_ratio": 0.995,
  "euler_at_final": false, "final_sigmas_type": "zero", "lambda_min_clipped": -Infinity,
  "lower_order_final": true,
  "num_train_timesteps": 1000, "prediction_type": "v_prediction", "rescale_betas_zero_snr": false,
  "sample_max_value": 1.0, "solver_order": 2, "solver_type": "midpoint", "steps_offset": 1,
  "thresholding": false,
  "timestep_spacing": "leading", "trained_betas": null, "use_karras_sigmas": false,
  "variance_type": null})";

TEST(ModelConfig, ReadsStableDiffusion15) {
  const auto unet = ParseUNetConfig(kSd15Unet, "unet");
  ASSERT_TRUE(unet.ok()) << unet.status();
  EXPECT_THAT(unet->block_out_channels, ElementsAre(320, 640, 1280, 1280));
  EXPECT_THAT(unet->down_attention, ElementsAre(true, true, true, false));
  EXPECT_THAT(unet->up_attention, ElementsAre(false, true, true, true));
  EXPECT_THAT(unet->attention_heads, ElementsAre(8, 8, 8, 8));
  EXPECT_THAT(unet->layers_per_block, ElementsAre(2, 2, 2, 2));
  EXPECT_THAT(unet->transformer_layers, ElementsAre(1, 1, 1, 1));
  EXPECT_EQ(unet->cross_attention_dim, 768);
  EXPECT_EQ(unet->time_embedding_dim(), 1280);

  const auto vae = ParseVaeConfig(kSd15Vae, "vae");
  ASSERT_TRUE(vae.ok()) << vae.status();
  EXPECT_EQ(vae->scale(), 8);
  EXPECT_FLOAT_EQ(vae->scaling_factor, 0.18215f);
  EXPECT_TRUE(vae->use_post_quant_conv);

  const auto text = ParseTextEncoderConfig(kSd15Text, "text");
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->attention_heads, 12);
  EXPECT_EQ(text->activation, Activation::kQuickGelu);

  const auto noise = ParseNoiseConfig(kSd15Noise, "noise", "");
  ASSERT_TRUE(noise.ok()) << noise.status();
  EXPECT_EQ(noise->default_sampler, SamplerKind::kDpmpp2m);
  EXPECT_EQ(noise->clip_sample, std::nullopt);
  EXPECT_FALSE(noise->set_alpha_to_one);
}

// Stable Diffusion XL's, as published: every field that diffusers had by then.
constexpr char kSdxlUnet[] = R"({
  "_class_name": "UNet2DConditionModel", "_diffusers_version": "0.19.0.dev0", "act_fn": "silu",
  "addition_embed_type": "text_time", "addition_embed_type_num_heads": 64,
  "addition_time_embed_dim": 256, "attention_head_dim": [5, 10, 20],
  "block_out_channels": [320, 640, 1280], "center_input_sample": false, "class_embed_type": null,
  "class_embeddings_concat": false, "conv_in_kernel": 3, "conv_out_kernel": 3,
  "cross_attention_dim": 2048, "cross_attention_norm": null,
  "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
  "downsample_padding": 1, "dual_cross_attention": false, "encoder_hid_dim": null,
  "encoder_hid_dim_type": null, "flip_sin_to_cos": true, "freq_shift": 0, "in_channels": 4,
  "layers_per_block": 2, "mid_block_only_cross_attention": null, "mid_block_scale_factor": 1,
  "mid_block_type": "UNetMidBlock2DCrossAttn", "norm_eps": 1e-05, "norm_num_groups": 32,
  "num_attention_heads": null, "num_class_embeds": null, "only_cross_attention": false,
  "out_channels": 4, "projection_class_embeddings_input_dim": 2816, "resnet_out_scale_factor": 1.0,
  "resnet_skip_time_act": false, "resnet_time_scale_shift": "default", "sample_size": 128,
  "time_cond_proj_dim": null, "time_embedding_act_fn": null, "time_embedding_dim": null,
  "time_embedding_type": "positional", "timestep_post_act": null,
  "transformer_layers_per_block": [1, 2, 10],
  "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
  "upcast_attention": null, "use_linear_projection": true})";
constexpr char kSdxlText2[] = R"({
  "architectures": ["CLIPTextModelWithProjection"], "attention_dropout": 0.0, "bos_token_id": 0,
  "dropout": 0.0, "eos_token_id": 2, "hidden_act": "gelu", "hidden_size": 1280,
  "initializer_factor": 1.0, "initializer_range": 0.02, "intermediate_size": 5120,
  "layer_norm_eps": 1e-05, "max_position_embeddings": 77, "model_type": "clip_text_model",
  "num_attention_heads": 20, "num_hidden_layers": 32, "pad_token_id": 1, "projection_dim": 1280,
  "torch_dtype": "float16", "transformers_version": "4.32.0.dev0", "vocab_size": 49408})";

TEST(ModelConfig, ReadsStableDiffusionXl) {
  const auto unet = ParseUNetConfig(kSdxlUnet, "unet");
  ASSERT_TRUE(unet.ok()) << unet.status();
  EXPECT_THAT(unet->transformer_layers, ElementsAre(1, 2, 10));
  EXPECT_THAT(unet->attention_heads, ElementsAre(5, 10, 20));
  EXPECT_EQ(unet->added_dim, 2816);
  EXPECT_EQ(unet->size_embed_dim, 256);
  EXPECT_EQ(unet->guidance_embed_dim, 0);

  const auto text = ParseTextEncoderConfig(kSdxlText2, "text");
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->projection_dim, 1280);
  EXPECT_EQ(text->end_token, std::nullopt) << "2 stands for the largest id";
  json other = json::parse(kSdxlText2);
  other["eos_token_id"] = 49407;
  EXPECT_EQ(ParseTextEncoderConfig(other.dump(), "text")->end_token, 49407);
  EXPECT_EQ(ParseTextEncoderConfig(kSd15Text, "text")->projection_dim, 0);
}

// Stable Diffusion 2.1's, and a distillation's, by what their configs have beside 1.5's.
TEST(ModelConfig, ReadsStableDiffusion21AndLcm) {
  json unet = json::parse(kSd15Unet);
  unet.update({{"attention_head_dim", {5, 10, 20, 20}},
               {"cross_attention_dim", 1024},
               {"dual_cross_attention", false},
               {"num_class_embeds", nullptr},
               {"only_cross_attention", false},
               {"sample_size", 96},
               {"upcast_attention", true},
               {"use_linear_projection", true}});
  EXPECT_TRUE(ParseUNetConfig(unet.dump(), "unet").ok())
      << ParseUNetConfig(unet.dump(), "unet").status();
  unet["time_cond_proj_dim"] = 256;
  EXPECT_EQ(ParseUNetConfig(unet.dump(), "unet")->guidance_embed_dim, 256);
}

TEST(ModelConfig, HeadsMayBeListedAndSamplersNamed) {
  json unet = json::parse(kSd15Unet);
  unet["attention_head_dim"] = {5, 10, 20, 20};
  unet["use_linear_projection"] = true;
  const auto sd2 = ParseUNetConfig(unet.dump(), "unet");
  ASSERT_TRUE(sd2.ok()) << sd2.status();
  EXPECT_THAT(sd2->attention_heads, ElementsAre(5, 10, 20, 20));
  EXPECT_TRUE(sd2->use_linear_projection);

  const auto noise = ParseNoiseConfig(kDpmNoise, "noise", "");
  ASSERT_TRUE(noise.ok()) << noise.status();
  EXPECT_EQ(noise->default_sampler, SamplerKind::kDpmpp2m);
  EXPECT_EQ(noise->prediction, PredictionType::kVPrediction);
  EXPECT_EQ(noise->spacing, TimestepSpacing::kLeading);
  EXPECT_EQ(ParseNoiseConfig(kDpmNoise, "noise", "EulerDiscreteScheduler")->default_sampler,
            SamplerKind::kEuler);
  EXPECT_EQ(ParseNoiseConfig("{}", "noise", "DDIMScheduler")->clip_sample, 1.0f);
}

constexpr char kTinyVae[] =
    R"({"_class_name": "AutoencoderTiny", "_diffusers_version": "0.20.0.dev0", "act_fn": "relu",
  "decoder_block_out_channels": [64, 64, 64, 64], "encoder_block_out_channels": [64, 64, 64, 64],
  "force_upcast": false, "in_channels": 3, "latent_channels": 4, "latent_magnitude": 3, "latent_shift": 0.5,
  "num_decoder_blocks": [3, 3, 3, 1], "num_encoder_blocks": [1, 3, 3, 3], "out_channels": 3,
  "scaling_factor": 1.0, "upsampling_scaling_factor": 2})";

TEST(ModelConfig, ReadsATinyAutoencoder) {
  const auto vae = ParseVaeConfig(kTinyVae, "vae");
  ASSERT_TRUE(vae.ok()) << vae.status();
  EXPECT_EQ(vae->kind, VaeKind::kTiny);
  EXPECT_EQ(vae->scale(), 8);
  EXPECT_EQ(vae->scaling_factor, 1);
  EXPECT_THAT(vae->tiny_decoder_blocks, ElementsAre(3, 3, 3, 1));
}

struct Change {
  const char* field;
  json value;
  absl::StatusCode code;
  const char* message;
};
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;

template <typename Parse>
void Expect(const char* base, const Change& change, Parse parse) {
  json config = json::parse(base);
  config[change.field] = change.value;
  const absl::Status status = parse(config.dump());
  EXPECT_EQ(status.code(), change.code) << change.field << " " << change.value << ": " << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(change.message));
  EXPECT_THAT(std::string(status.message()), HasSubstr("dir/config.json: "));
}

TEST(ModelConfig, RefusesUnetsByName) {
  const Change changes[] = {
      {"act_fn", "mish", kUnimplemented,
       "act_fn is \"mish\"; this engine has \"silu\" or \"swish\""},
      {"addition_embed_type", "text_time", kInvalid,
       "addition_embed_type needs addition_time_embed_dim and projection"},
      {"attention_head_dim", 0, kInvalid, "attention_head_dim is 0, outside 1 to 1024"},
      {"attention_head_dim", 7, kInvalid, "gives 7 heads"},
      {"attention_head_dim", json::array({5, 10}), kInvalid,
       "has 2 elements, one for each of the 4 blocks is needed"},
      {"block_out_channels", json::array(), kInvalid, "not an array of 1 to 8 whole numbers"},
      {"block_out_channels", json::array({320, 640, -1, 1280}), kInvalid,
       "block_out_channels[2] is -1, outside 1 to 16384"},
      {"block_out_channels", json::array({320, 640, 1e300, 1280}), kInvalid,
       "block_out_channels[2] is 1e+300, outside"},
      {"block_out_channels", json::array({320, 640, 1281, 1280}), kInvalid,
       "has 1281, which norm_num_groups 32 does not divide"},
      {"block_out_channels", json::array({320, 640, 1280}), kInvalid,
       "has 4 blocks, block_out_channels has 3"},
      {"block_out_channels", json(std::vector<int>(9, 32)), kInvalid, "not an array of 1 to 8"},
      {"center_input_sample", true, kUnimplemented,
       "center_input_sample is true; this engine has false"},
      {"conv_in_kernel", 5, kUnimplemented, "conv_in_kernel is 5"},
      {"cross_attention_dim", json::array({768, 768, 768, 768}), kInvalid, "not a whole number"},
      {"down_block_types", json::array({"A", "B", "C", "D"}), kUnimplemented,
       "down_block_types has \"A\""},
      {"down_block_types", 3, kInvalid, "down_block_types is 3, not an array"},
      {"flip_sin_to_cos", "yes", kInvalid, "flip_sin_to_cos is \"yes\", not true or false"},
      {"freq_shift", 160, kInvalid, "freq_shift must be less than half"},
      {"in_channels", 4.5, kInvalid, "in_channels is 4.5, not a whole number"},
      {"in_channels", nullptr, kInvalid, "in_channels is null, not a whole number"},
      {"layers_per_block", 100000, kInvalid, "layers_per_block is 100000, outside 1 to 16"},
      {"mid_block_type", nullptr, kInvalid, "mid_block_type is null"},
      {"mid_block_type", "UNetMidBlock2D", kUnimplemented,
       "mid_block_type must be UNetMidBlock2DCrossAttn"},
      {"norm_eps", -1e-5, kInvalid, "norm_eps is -1e-05, outside"},
      {"norm_num_groups", 0, kInvalid, "norm_num_groups is 0, outside 1"},
      {"num_class_embeds", 10, kUnimplemented,
       "num_class_embeds is 10; this engine has no such part"},
      {"resnet_time_scale_shift", "scale_shift", kUnimplemented,
       "resnet_time_scale_shift is \"scale_shift\""},
      {"something_new", 3, kUnimplemented,
       "\"something_new\" is 3, a field this engine does not know"},
  };
  for (const Change& change : changes) {
    Expect(kSd15Unet, change, [](const std::string& text) {
      return ParseUNetConfig(text, "dir/config.json").status();
    });
  }
  json harmless = json::parse(kSd15Unet);
  harmless["something_new"] = nullptr;
  harmless["another"] = false;
  EXPECT_TRUE(ParseUNetConfig(harmless.dump(), "f").ok());
}

TEST(ModelConfig, RefusesTheOthersByName) {
  const Change vae[] = {
      {"out_channels", 1, kUnimplemented, "out_channels is 1; this engine has 3"},
      {"latents_mean", json::array({0.1}), kUnimplemented, "latents_mean is [0.1]"},
      {"scaling_factor", 0, kInvalid, "scaling_factor is 0, outside"},
      {"norm_num_groups", 33, kInvalid, "which norm_num_groups 33 does not divide"},
      {"up_block_types", json::array({"UpDecoderBlock2D"}), kInvalid,
       "has 1 blocks, block_out_channels has 4"},
      {"up_block_types", json::array({"A", "A", "A", "A"}), kUnimplemented,
       "up_block_types has \"A\""},
  };
  for (const Change& c : vae) {
    Expect(kSd15Vae, c, [](const std::string& text) {
      return ParseVaeConfig(text, "dir/config.json").status();
    });
  }
  const Change tiny[] = {
      {"act_fn", "swish", kUnimplemented, "act_fn is \"swish\"; this engine has \"relu\""},
      {"num_decoder_blocks", json::array({3, 3}), kInvalid, "num_decoder_blocks has 2 levels"},
      {"encoder_block_out_channels", json::array({64, 64, 64, 32}), kUnimplemented,
       "has 32 beside 64"},
      {"upsampling_scaling_factor", 4, kUnimplemented, "upsampling_scaling_factor is 4"},
  };
  for (const Change& c : tiny) {
    Expect(kTinyVae, c,
           [](const std::string& t) { return ParseVaeConfig(t, "dir/config.json").status(); });
  }
  const Change text[] = {
      {"architectures", json::array({"T5EncoderModel"}), kUnimplemented,
       "architectures is [\"T5EncoderModel\"]"},
      {"hidden_act", "relu", kUnimplemented, "hidden_act is \"relu\""},
      {"num_attention_heads", 7, kInvalid, "is 7, which does not divide hidden_size 768"},
      {"vocab_size", -1, kInvalid, "vocab_size is -1, outside"},
      {"num_hidden_layers", 1e9, kInvalid, "num_hidden_layers is 1000000000.0, outside 1 to 256"},
  };
  for (const Change& c : text) {
    Expect(kSd15Text, c, [](const std::string& t) {
      return ParseTextEncoderConfig(t, "dir/config.json").status();
    });
  }
  const Change noise[] = {
      {"beta_schedule", "squaredcos_cap_v2", kUnimplemented,
       "this engine has linear, scaled_linear"},
      {"beta_start", 0, kInvalid, "beta_start is 0, outside"},
      {"beta_end", "big", kInvalid, "beta_end is \"big\", not a number"},
      {"num_train_timesteps", 0, kInvalid, "num_train_timesteps is 0, outside 1 to 100000"},
      {"prediction_type", "flow_prediction", kUnimplemented,
       "prediction_type is \"flow_prediction\""},
      {"solver_order", 3, kUnimplemented, "solver_order is 3; this engine has 2"},
      {"steps_offset", -1, kInvalid, "steps_offset is -1"},
      {"thresholding", true, kUnimplemented, "thresholding is true"},
      {"timestep_spacing", 1, kInvalid, "timestep_spacing is 1, not a string"},
      {"use_karras_sigmas", "yes", kInvalid, "use_karras_sigmas is \"yes\", not true or false"},
      {"use_lu_lambdas", true, kUnimplemented, "use_lu_lambdas is true"},
  };
  for (const Change& c : noise) {
    Expect(R"({"_class_name":"DPMSolverMultistepScheduler"})", c, [](const std::string& t) {
      return ParseNoiseConfig(t, "dir/config.json", "").status();
    });
  }
}

TEST(ModelConfig, EveryPrefixOfAConfigIsAnError) {
  const std::string text = kSd15Unet;
  for (size_t size = 0; size < text.size(); ++size) {
    EXPECT_EQ(ParseUNetConfig(text.substr(0, size), "f").status().code(),
              absl::StatusCode::kDataLoss)
        << size;
  }
}

class ModelFolder : public tests::FolderTest {
 protected:
  void SetUp() override {
    Put("model_index.json",
        R"({"_class_name":"StableDiffusionPipeline","_diffusers_version":"0.6.0",
      "scheduler":["diffusers","PNDMScheduler"],"text_encoder":["transformers","CLIPTextModel"],
      "tokenizer":["transformers","CLIPTokenizer"],"unet":["diffusers","UNet2DConditionModel"],
      "vae":["diffusers","AutoencoderKL"],"safety_checker":[null,null]})");
    Put("unet/config.json", kSd15Unet);
    Put("vae/config.json", kSd15Vae);
    Put("text_encoder/config.json", kSd15Text);
    Put("scheduler/scheduler_config.json", kSd15Noise);
  }
  void Put(const std::string& name, const std::string& text) {
    ASSERT_TRUE(WriteFileAtomic(folder_ + "/" + name, text, IfPresent::kReplace).ok());
  }
  absl::Status Load() { return LoadModelConfig(folder_).status(); }
};

TEST_F(ModelFolder, Loads) {
  const auto model = LoadModelConfig(folder_);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->size_multiple(), 8);
}

TEST_F(ModelFolder, AMissingFileIsNamed) {
  for (const char* name : {"model_index.json", "unet/config.json", "vae/config.json",
                           "text_encoder/config.json", "scheduler/scheduler_config.json"}) {
    SetUp();
    std::filesystem::remove(folder_ + "/" + name);
    EXPECT_EQ(Load().code(), absl::StatusCode::kNotFound);
    EXPECT_THAT(std::string(Load().message()), HasSubstr(folder_ + "/" + name + ": No such file"));
  }
}

TEST_F(ModelFolder, PartsMustFit) {
  json unet = json::parse(kSd15Unet);
  unet["cross_attention_dim"] = 1024;
  Put("unet/config.json", unet.dump());
  EXPECT_THAT(
      std::string(Load().message()),
      HasSubstr("cross_attention_dim is 1024, text_encoder/config.json: hidden_size is 768"));
  unet["cross_attention_dim"] = 768;
  for (const auto& [channels, extra] :
       {std::pair(4, ExtraInput::kNone), std::pair(8, ExtraInput::kPhoto),
        std::pair(9, ExtraInput::kMaskPhoto)}) {
    unet["in_channels"] = channels;
    Put("unet/config.json", unet.dump());
    const auto model = LoadModelConfig(folder_);
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ(model->extra_input, extra);
  }
  unet["in_channels"] = 5;
  Put("unet/config.json", unet.dump());
  EXPECT_EQ(Load().code(), kUnimplemented);
  EXPECT_THAT(std::string(Load().message()), HasSubstr("in_channels 5 and out_channels 4"));
}

TEST_F(ModelFolder, AnUnknownClassIsNamed) {
  Put("model_index.json", R"({"_class_name":"FluxPipeline"})");
  EXPECT_EQ(Load().code(), kUnimplemented);
  EXPECT_THAT(
      std::string(Load().message()),
      HasSubstr("_class_name is \"FluxPipeline\"; this engine has StableDiffusionPipeline, "));
  Put("model_index.json", R"({"_class_name":"StableDiffusionXLPipeline"})");
  EXPECT_THAT(std::string(Load().message()), HasSubstr("no text_encoder_2"));
}

}  // namespace
}  // namespace tiltshift::engine
