// The configs of a diffusers model directory as checked structs: what is here, the engine
// implements.
//
// A field that is missing takes diffusers' (or transformers') default. A field set to something the
// engine does not do is Unimplemented and names the file, the field and what would be accepted; a
// wrong type, a number out of bounds or dimensions that do not divide are InvalidArgument. So the
// code over these structs divides and allocates without asking again: every bound below was
// checked.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "engine/model_index.h"
#include "engine/sampler_kind.h"

namespace tiltshift::engine {

enum class Activation { kQuickGelu, kGelu };  // x*sigmoid(1.702x), and the exact one with erf

// text_encoder/config.json of a transformers CLIPTextModel or CLIPTextModelWithProjection.
struct TextEncoderConfig {
  int vocab_size = 49408;
  int hidden_size = 512;  // divisible by attention_heads
  int intermediate_size = 2048;
  int layers = 12;
  int attention_heads = 8;
  int max_positions = 77;
  Activation activation = Activation::kQuickGelu;
  float layer_norm_eps = 1e-5f;
  int projection_dim = 0;  // of the pooled embedding; 0: the class has none
  // Where a text ends, for the pooled embedding: the first of these tokens. None: at the largest
  // id, which is how configs with the id 2 are meant (transformers #24773).
  std::optional<int> end_token;
};

// unet/config.json of a diffusers UNet2DConditionModel. A level is a resolution; level 0 is the
// latent's own. Down block i works on level i, up block i on level levels()-1-i.
struct UNetConfig {
  int in_channels = 4;
  int out_channels = 4;
  bool flip_sin_to_cos = true;  // [cos, sin] instead of [sin, cos]
  float freq_shift = 0;
  // [levels]; divisible by norm_num_groups and by the level's heads.
  std::vector<int> block_out_channels;
  std::vector<bool> down_attention;  // [levels]: CrossAttnDownBlock2D, else DownBlock2D
  std::vector<bool> up_attention;    // [levels], in the order of up_block_types: CrossAttnUpBlock2D
  std::vector<int> layers_per_block;  // [levels]: resnets of a down block; an up block has one more
  std::vector<int> attention_heads;   // [levels]: head size = block_out_channels / heads
  std::vector<int> transformer_layers;  // [levels]
  int cross_attention_dim = 1280;
  bool use_linear_projection = false;  // proj_in and proj_out are Linear, else 1x1 Conv2d
  int norm_num_groups = 32;
  int sample_size = 0;     // the latent's side it was trained for; 0: not told
  float norm_eps = 1e-5f;  // the resnets'; a transformer's GroupNorm has 1e-6, its LayerNorms 1e-5
  // Beside the timestep, where not 0:
  int guidance_embed_dim =
      0;  // time_cond_proj_dim: the guidance scale goes in, and one forward a step is enough
  int added_dim = 0;  // projection_class_embeddings_input_dim of "text_time": the pooled text, then
                      // each size number
  int size_embed_dim = 0;  // addition_time_embed_dim: of each size number
  // A ControlNet's (Zhang et al. 2023): of the convolutions that bring its picture to the latent's
  // size, each but the first halving it. Empty: a denoiser. One that is not has the encoder alone,
  // and no up_attention.
  std::vector<int> hint_channels;

  bool is_control() const { return !hint_channels.empty(); }
  int hint_scale() const {
    return 1 << (hint_channels.size() - 1);
  }  // of its picture's pixels a latent cell
  int levels() const { return static_cast<int>(block_out_channels.size()); }
  int time_embedding_dim() const { return 4 * block_out_channels[0]; }
};

// kKl: AutoencoderKL. kTiny: AutoencoderTiny, TAESD's kind: convolutions and ReLU alone.
enum class VaeKind { kKl, kTiny };

// vae/config.json of either.
struct VaeConfig {
  VaeKind kind = VaeKind::kKl;
  int out_channels = 3;
  int latent_channels = 4;
  std::vector<int>
      block_out_channels;    // [levels], 0 at the picture's size; divisible by the groups
  int layers_per_block = 1;  // a decoder block has one more resnet
  int norm_num_groups = 32;
  bool use_quant_conv = true;  // the encoder's
  bool use_post_quant_conv = true;
  bool mid_block_add_attention = true;
  float scaling_factor = 0.18215f;  // the decoder takes latent / scaling_factor + shift_factor
  float shift_factor = 0;
  std::vector<int> tiny_encoder_blocks, tiny_decoder_blocks;  // [levels], in the order in which they run

  int levels() const { return static_cast<int>(block_out_channels.size()); }
  int scale() const { return 1 << (levels() - 1); }  // pixels a latent cell
};

enum class BetaSchedule { kLinear, kScaledLinear };
enum class PredictionType { kEpsilon, kVPrediction, kSample };
enum class TimestepSpacing { kLeading, kTrailing, kLinspace };
enum class FinalSigma { kZero, kSigmaMin };

// scheduler/scheduler_config.json. A sampler takes its own class' default for what is not set.
struct NoiseConfig {
  std::string class_name;  // "DDIMScheduler", as model_index.json names it
  // Its own rule, or the nearest the engine has (docs/spec.md lists them); none: a class of another kind.
  std::optional<SamplerKind> default_sampler;
  int train_timesteps = 1000;
  double beta_start = 0.0001;
  double beta_end = 0.02;
  BetaSchedule beta_schedule = BetaSchedule::kLinear;
  PredictionType prediction = PredictionType::kEpsilon;
  std::optional<TimestepSpacing> spacing;  // DDIM: leading; Euler and DPM++: linspace
  int steps_offset = 0;
  bool set_alpha_to_one = true;      // DDIM's last alpha: 1, else that of timestep 0
  std::optional<float> clip_sample;  // DDIM clamps its x0 to +-this
  FinalSigma final_sigma = FinalSigma::kZero;
  bool lower_order_final = true;  // DPM++ 2M: first order at the end of fewer than 15 steps
  bool euler_at_final = false;
  bool rescale_betas_zero_snr = false;  // the last timestep has no signal
  bool use_karras_sigmas = false;       // Euler's; for DPM++ it picks the default sampler
  int lcm_original_steps = 50;          // original_inference_steps: what the distillation ran over
  float lcm_timestep_scaling = 10;
};

// What a UNet is given beside the noisy latent, as more input channels behind it.
enum class ExtraInput {
  kNone,
  kPhoto,      // a photo's latent
  kMaskPhoto,  // a mask of one channel, then the latent of the photo without what is masked
};

struct ModelConfig {
  ModelIndex index;
  std::vector<TextEncoderConfig> text_encoders;  // one for each of index.text_suffixes
  UNetConfig unet;
  VaeConfig vae;
  NoiseConfig noise;
  ExtraInput extra_input = ExtraInput::kNone;
  int size_numbers =
      0;  // of the size conditioning: 6, 5 where the last one is an aesthetic score, or 0

  // Pixels: widths and heights must be multiples of this.
  int size_multiple() const { return vae.scale(); }
};

// Reads model_index.json and the configs of its parts under `directory`, each on its own and
// against the others (cross_attention_dim and hidden_size, the channels of latents, what stands
// beside the time). NotFound names the missing file.
absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& directory);
// The same where configs that do not lie there come from `missing`, which may have none either.
using MissingConfig = std::function<std::optional<std::string>(const std::string& name)>;
absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& directory, const MissingConfig& missing);

// One config each, from its JSON text; `file` is what errors call it.
absl::StatusOr<TextEncoderConfig> ParseTextEncoderConfig(std::string_view json,
                                                         const std::string& file);
absl::StatusOr<UNetConfig> ParseUNetConfig(std::string_view json, const std::string& file);
// Of a diffusers ControlNetModel.
absl::StatusOr<UNetConfig> ParseControlNetConfig(std::string_view json, const std::string& file);
absl::StatusOr<VaeConfig> ParseVaeConfig(std::string_view json, const std::string& file);
// `class_name` is model_index.json's word for the scheduler; where empty, the config's own
// _class_name.
absl::StatusOr<NoiseConfig> ParseNoiseConfig(std::string_view json, const std::string& file,
                                             const std::string& class_name);

}  // namespace tiltshift::engine
