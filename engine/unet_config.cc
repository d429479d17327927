#include "engine/config_reader.h"
#include "engine/json_text.h"
#include "engine/model_config.h"

namespace tiltshift::engine {
namespace {

constexpr int kMaxChannels = 1 << 14;
constexpr size_t kMaxLevels = 8;

// Which blocks of a path attend to the prompt; their types may be those two only.
std::vector<bool> Attention(ConfigReader& config, const char* field,
                            std::vector<std::string> missing, const std::string& with,
                            const std::string& without, size_t levels) {
  const std::vector<std::string> types = config.Strings(field, std::move(missing), kMaxLevels);
  if (types.size() != levels) {
    config.Invalid(field,
                   absl::StrCat("has ", types.size(), " blocks, block_out_channels has ", levels));
  }
  std::vector<bool> attention(levels, false);
  for (size_t i = 0; i < types.size() && i < levels; ++i) {
    if (types[i] != with && types[i] != without) {
      config.Unimplemented(field, absl::StrCat("has ", Quoted(types[i]), "; this engine has ", with,
                                               " and ", without));
    }
    attention[i] = types[i] == with;
  }
  return attention;
}

// What both of diffusers' classes can do and this engine cannot.
void RefuseOfTheEncoder(ConfigReader& config) {
  config.Only("act_fn", {"silu", "swish"});
  config.Only("class_embed_type", {});
  config.Only("downsample_padding", {1});
  config.Only("encoder_hid_dim", {});
  config.Only("encoder_hid_dim_type", {});
  config.Only("mid_block_scale_factor", {1});
  config.Only("num_attention_heads", {});
  config.Only("num_class_embeds", {});
  config.Only("only_cross_attention", {false});
  config.Only("resnet_time_scale_shift", {"default"});
  // A note for half precision: attention's scores are fp32 in any.
  config.Ignore({"addition_embed_type_num_heads", "upcast_attention"});
  if (config.String("mid_block_type", "UNetMidBlock2DCrossAttn") != "UNetMidBlock2DCrossAttn") {
    config.Unimplemented("mid_block_type", "must be UNetMidBlock2DCrossAttn in this engine");
  }
}

// What diffusers' UNet2DConditionModel can do beyond that.
void RefuseTheRest(ConfigReader& config, const UNetConfig& unet) {
  config.Only("_class_name", {"UNet2DConditionModel"});
  config.Only("attention_type", {"default"});
  config.Only("center_input_sample", {false});
  config.Only("class_embeddings_concat", {false});
  config.Only("conv_in_kernel", {3});
  config.Only("conv_out_kernel", {3});
  config.Only("cross_attention_norm", {});
  config.Only("dual_cross_attention", {false});
  config.Only("mid_block_only_cross_attention", {false});
  config.Only("resnet_out_scale_factor", {1});
  config.Only("resnet_skip_time_act", {false});
  config.Only("reverse_transformer_layers_per_block", {});
  config.Only("time_embedding_act_fn", {});
  config.Only("time_embedding_dim", {unet.time_embedding_dim()});
  config.Only("time_embedding_type", {"positional"});
  config.Only("timestep_post_act", {});
  config.Ignore({"dropout"});
}

// What the encoder is made of, in either class.
UNetConfig ReadEncoder(ConfigReader& config) {
  UNetConfig unet;
  unet.in_channels = config.Int("in_channels", 4, 1, 1024);
  unet.flip_sin_to_cos = config.Bool("flip_sin_to_cos", true);
  unet.freq_shift = static_cast<float>(config.Number("freq_shift", 0, -1000, 1000));
  unet.block_out_channels =
      config.Ints("block_out_channels", {320, 640, 1280, 1280}, 1, kMaxChannels, kMaxLevels);
  const size_t levels = unet.block_out_channels.size();
  unet.down_attention = Attention(
      config, "down_block_types",
      {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"},
      "CrossAttnDownBlock2D", "DownBlock2D", levels);
  unet.layers_per_block = config.IntOrInts("layers_per_block", 2, 1, 16, levels);
  unet.attention_heads = config.IntOrInts("attention_head_dim", 8, 1, 1024, levels);
  unet.transformer_layers = config.IntOrInts("transformer_layers_per_block", 1, 1, 64, levels);
  unet.cross_attention_dim = config.Int("cross_attention_dim", 1280, 1, 1 << 16);
  unet.use_linear_projection = config.Bool("use_linear_projection", false);
  unet.norm_num_groups = config.Int("norm_num_groups", 32, 1, kMaxChannels);
  unet.norm_eps = static_cast<float>(config.Number("norm_eps", 1e-5, 1e-12, 1));
  return unet;
}

// What the time embedding is joined by.
void ReadBesideTime(ConfigReader& config, UNetConfig* unet) {
  if (config.Has("time_cond_proj_dim")) {
    unet->guidance_embed_dim = config.Int("time_cond_proj_dim", 0, 4, 1 << 14);
  }
  config.Only("addition_embed_type", {"text_time"});
  if (!config.Has("addition_embed_type")) {
    config.Only("projection_class_embeddings_input_dim", {});
    config.Only("addition_time_embed_dim", {});
    return;
  }
  unet->size_embed_dim = config.Int("addition_time_embed_dim", 0, 4, 1 << 14);
  unet->added_dim = config.Int("projection_class_embeddings_input_dim", 0, 1, 1 << 16);
  if (unet->size_embed_dim == 0 || unet->added_dim == 0) {
    config.Invalid("addition_embed_type",
                   "needs addition_time_embed_dim and projection_class_embeddings_input_dim");
  }
}

// Every division the networks make.
void CheckDivisions(ConfigReader& config, const UNetConfig& unet) {
  const int last = unet.levels() - 1;
  for (int level = 0; level <= last; ++level) {
    const int channels = unet.block_out_channels[level];
    if (channels % unet.norm_num_groups != 0) {
      config.Invalid("block_out_channels",
                     absl::StrCat("has ", channels, ", which norm_num_groups ",
                                  unet.norm_num_groups, " does not divide"));
    }
    const bool attends =
        unet.down_attention[level] || unet.up_attention[last - level] || level == last;
    if (attends && channels % unet.attention_heads[level] != 0) {
      config.Invalid("attention_head_dim",
                     absl::StrCat("gives ", unet.attention_heads[level],
                                  " heads (diffusers takes it as their number), ",
                                  "which do not divide the block's ", channels, " channels"));
    }
  }
  const int half = unet.block_out_channels[0] / 2;
  if (unet.block_out_channels[0] % 2 != 0)
    config.Invalid("block_out_channels", "must begin with an even number");
  if (half - unet.freq_shift <= 0) {
    config.Invalid("freq_shift", "must be less than half of the first of block_out_channels");
  }
}

}  // namespace

absl::StatusOr<UNetConfig> ParseUNetConfig(std::string_view json, const std::string& file) {
  TS_ASSIGN_OR_RETURN(ConfigReader config, ConfigReader::Parse(json, file));
  UNetConfig unet = ReadEncoder(config);
  unet.out_channels = config.Int("out_channels", 4, 1, 1024);
  unet.up_attention =
      Attention(config, "up_block_types",
                {"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"},
                "CrossAttnUpBlock2D", "UpBlock2D", unet.block_out_channels.size());
  unet.sample_size = config.IntOrInts("sample_size", 0, 1, kMaxChannels, 2)[0];
  ReadBesideTime(config, &unet);
  RefuseOfTheEncoder(config);
  RefuseTheRest(config, unet);
  CheckDivisions(config, unet);
  TS_RETURN_IF_ERROR(config.Finish());
  return unet;
}

absl::StatusOr<UNetConfig> ParseControlNetConfig(std::string_view json, const std::string& file) {
  TS_ASSIGN_OR_RETURN(ConfigReader config, ConfigReader::Parse(json, file));
  UNetConfig control = ReadEncoder(config);
  control.up_attention.assign(control.block_out_channels.size(), false);
  control.hint_channels = config.Ints("conditioning_embedding_out_channels", {16, 32, 96, 256}, 1,
                                      kMaxChannels, kMaxLevels);
  ReadBesideTime(config, &control);
  RefuseOfTheEncoder(config);
  config.Only("_class_name", {"ControlNetModel"});
  config.Only("conditioning_channels", {3});
  config.Only("controlnet_conditioning_channel_order", {"rgb"});
  config.Only("global_pool_conditions", {false});
  CheckDivisions(config, control);
  TS_RETURN_IF_ERROR(config.Finish());
  return control;
}

}  // namespace tiltshift::engine
