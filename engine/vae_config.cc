#include "engine/config_reader.h"
#include "engine/json_text.h"
#include "engine/model_config.h"

namespace tiltshift::engine {

namespace {

// A block type a level, all of the one kind that there is.
void CheckBlocks(ConfigReader& config, const char* field, const char* only, size_t levels) {
  const std::vector<std::string> blocks = config.Strings(field, {only}, 8);
  if (blocks.size() != levels) {
    config.Invalid(field,
                   absl::StrCat("has ", blocks.size(), " blocks, block_out_channels has ", levels));
  }
  for (const std::string& block : blocks) {
    if (block != only) {
      config.Unimplemented(field, absl::StrCat("has ", Quoted(block), "; this engine has ", only));
    }
  }
}

void ReadKl(ConfigReader& config, VaeConfig& vae) {
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
  config.Only("act_fn", {"silu", "swish"});
  vae.use_quant_conv = config.Bool("use_quant_conv", true);
  CheckBlocks(config, "up_block_types", "UpDecoderBlock2D", vae.block_out_channels.size());
  // A file of a decoder alone may leave the encoder's away.
  if (config.Has("down_block_types")) {
    CheckBlocks(config, "down_block_types", "DownEncoderBlock2D", vae.block_out_channels.size());
  }
  for (int channels : vae.block_out_channels) {
    if (channels % vae.norm_num_groups != 0) {
      config.Invalid("block_out_channels",
                     absl::StrCat("has ", channels, ", which norm_num_groups ", vae.norm_num_groups,
                                  " does not divide"));
    }
  }
}

void ReadTiny(ConfigReader& config, VaeConfig& vae) {
  vae.kind = VaeKind::kTiny;
  vae.latent_channels = config.Int("latent_channels", 4, 1, 1024);
  vae.scaling_factor = static_cast<float>(config.Number("scaling_factor", 1, 1e-6, 1e6));
  vae.shift_factor = static_cast<float>(config.Number("shift_factor", 0, -1e6, 1e6));
  vae.block_out_channels =
      config.Ints("decoder_block_out_channels", {64, 64, 64, 64}, 1, 1 << 14, 8);
  const size_t levels = vae.block_out_channels.size();
  vae.tiny_decoder_blocks = config.Ints("num_decoder_blocks", {3, 3, 3, 1}, 0, 64, 8);
  vae.tiny_encoder_blocks = config.Ints("num_encoder_blocks", {1, 3, 3, 3}, 0, 64, 8);
  for (const auto& [field, blocks] : {std::pair{"num_decoder_blocks", &vae.tiny_decoder_blocks},
                                      std::pair{"num_encoder_blocks", &vae.tiny_encoder_blocks}}) {
    if (blocks->size() != levels) {
      config.Invalid(field, absl::StrCat("has ", blocks->size(),
                                         " levels, decoder_block_out_channels has ", levels));
    }
  }
  // Between two levels stands no layer that could change the channels.
  for (const char* field :
       {"encoder_block_out_channels", "decoder_block_out_channels", "block_out_channels"}) {
    if (!config.Has(field)) continue;
    const std::vector<int> channels = config.Ints(field, {}, 1, 1 << 14, 8);
    if (channels.size() != levels) {
      config.Invalid(field, absl::StrCat("has ", channels.size(),
                                         " levels, decoder_block_out_channels has ", levels));
    }
    for (const int each : channels) {
      if (each != vae.block_out_channels[0]) {
        config.Unimplemented(field,
                             absl::StrCat("has ", each, " beside ", vae.block_out_channels[0],
                                          "; this engine has the same channels on all levels"));
      }
    }
  }
  config.Only("act_fn", {"relu"});
  config.Only("upsample_fn", {"nearest"});
  config.Only("upsampling_scaling_factor", {2});
  config.Ignore({"latent_magnitude", "latent_shift"});  // for latents stored as bytes
}

}  // namespace

absl::StatusOr<VaeConfig> ParseVaeConfig(std::string_view json, const std::string& file) {
  TS_ASSIGN_OR_RETURN(ConfigReader config, ConfigReader::Parse(json, file));
  VaeConfig vae;
  config.Only("_class_name", {"AutoencoderKL", "AutoencoderTiny"});
  config.String("_class_name", "AutoencoderKL") == "AutoencoderTiny" ? ReadTiny(config, vae)
                                                                     : ReadKl(config, vae);
  config.Only("latents_mean", {});
  config.Only("latents_std", {});
  config.Only("in_channels", {3});
  config.Only("out_channels", {3});
  // force_upcast is a note for half precision, which the engine does not compute in.
  config.Ignore({"force_upcast", "sample_size", "shift_factor"});
  TS_RETURN_IF_ERROR(config.Finish());
  return vae;
}

}  // namespace tiltshift::engine
