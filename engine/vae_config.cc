#include "engine/config_reader.h"
#include "engine/json_text.h"
#include "engine/model_config.h"

namespace tiltshift::engine {

absl::StatusOr<VaeConfig> ParseVaeConfig(std::string_view json, const std::string& file) {
  TS_ASSIGN_OR_RETURN(ConfigReader config, ConfigReader::Parse(json, file));
  VaeConfig vae;
  vae.latent_channels = config.Int("latent_channels", 4, 1, 1024);
  vae.block_out_channels = config.Ints("block_out_channels", {64}, 1, 1 << 14, 8);
  vae.layers_per_block = config.Int("layers_per_block", 1, 1, 16);
  vae.norm_num_groups = config.Int("norm_num_groups", 32, 1, 1 << 14);
  vae.use_post_quant_conv = config.Bool("use_post_quant_conv", true);
  vae.mid_block_add_attention = config.Bool("mid_block_add_attention", true);
  vae.scaling_factor = static_cast<float>(config.Number("scaling_factor", 0.18215, 1e-6, 1e6));
  if (config.Has("shift_factor")) {
    vae.shift_factor = static_cast<float>(config.Number("shift_factor", 0, -1e6, 1e6));
  }
  config.Only("_class_name", {"AutoencoderKL"});
  config.Only("act_fn", {"silu", "swish"});
  config.Only("latents_mean", {});
  config.Only("latents_std", {});
  config.Only("out_channels", {3});
  // The encoder's, and a note for half precision, which the engine does not compute in.
  config.Ignore({"down_block_types", "force_upcast", "in_channels", "sample_size", "shift_factor",
                 "use_quant_conv"});

  const std::vector<std::string> blocks = config.Strings("up_block_types", {"UpDecoderBlock2D"}, 8);
  if (blocks.size() != vae.block_out_channels.size()) {
    config.Invalid("up_block_types",
                   absl::StrCat("has ", blocks.size(), " blocks, block_out_channels has ",
                                vae.block_out_channels.size()));
  }
  for (const std::string& block : blocks) {
    if (block != "UpDecoderBlock2D") {
      config.Unimplemented("up_block_types", absl::StrCat("has ", Quoted(block),
                                                          "; this engine has UpDecoderBlock2D"));
    }
  }
  for (int channels : vae.block_out_channels) {
    if (channels % vae.norm_num_groups != 0) {
      config.Invalid("block_out_channels",
                     absl::StrCat("has ", channels, ", which norm_num_groups ", vae.norm_num_groups,
                                  " does not divide"));
    }
  }
  TS_RETURN_IF_ERROR(config.Finish());
  return vae;
}

}  // namespace tiltshift::engine
