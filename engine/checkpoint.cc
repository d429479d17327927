#include "engine/checkpoint.h"

#include <algorithm>
#include <filesystem>

#include "engine/json_text.h"
#include "nlohmann/json.hpp"

namespace tiltshift::engine {
namespace {

using nlohmann::json;

constexpr int kHeadSize = 64;  // of every text encoder and of every UNet but Stable Diffusion 1's

// Sizes as the tensors' shapes tell them; the first tensor that is missing is kept as the error.
class Shapes {
 public:
  explicit Shapes(const TensorMap& tensors) : tensors_(tensors) {}

  bool Has(const std::string& name) const { return tensors_.contains(name); }
  size_t Rank(const std::string& name) { return Find(name).size(); }
  int Dim(const std::string& name, size_t which) {
    const std::vector<int64_t>& shape = Find(name);
    return which < shape.size() ? static_cast<int>(std::min<int64_t>(shape[which], 1 << 24)) : 0;
  }
  // How many of first<i>second there are, from i = 0 on.
  int Count(const std::string& first, const std::string& second) const {
    int count = 0;
    while (count < 1000 && Has(absl::StrCat(first, count, second))) ++count;
    return count;
  }
  const std::string& missing() const { return missing_; }

 private:
  const std::vector<int64_t>& Find(const std::string& name) {
    static const std::vector<int64_t> kNone;
    const auto at = tensors_.find(name);
    if (at != tensors_.end()) return at->second.shape;
    if (missing_.empty()) missing_ = name;
    return kNone;
  }

  const TensorMap& tensors_;
  std::string missing_;
};

constexpr char kUnet[] = "model.diffusion_model.";
constexpr char kVae[] = "first_stage_model.";

// Which text encoders there are tells the family.
struct Texts {
  std::string clip, open_clip;  // prefixes, or empty
  bool sdxl = false;
};

Texts FindTexts(const Shapes& shapes) {
  Texts texts;
  for (const char* prefix : {"cond_stage_model.transformer.text_model.", "cond_stage_model.transformer.",
                             "conditioner.embedders.0.transformer.text_model.",
                             "conditioner.embedders.0.transformer."}) {
    if (texts.clip.empty() && shapes.Has(absl::StrCat(prefix, "embeddings.token_embedding.weight"))) {
      texts.clip = prefix;
    }
  }
  for (const char* prefix :
       {"cond_stage_model.model.", "conditioner.embedders.0.model.", "conditioner.embedders.1.model."}) {
    if (texts.open_clip.empty() && shapes.Has(absl::StrCat(prefix, "token_embedding.weight"))) texts.open_clip = prefix;
  }
  texts.sdxl = texts.open_clip.starts_with("conditioner.");
  return texts;
}

json ClipConfig(Shapes& shapes, const std::string& prefix) {
  const std::string tokens = prefix + "embeddings.token_embedding.weight";
  const int hidden = shapes.Dim(tokens, 1);
  return {{"architectures", {"CLIPTextModel"}},
          {"hidden_act", "quick_gelu"},
          {"vocab_size", shapes.Dim(tokens, 0)},
          {"hidden_size", hidden},
          {"intermediate_size", shapes.Dim(prefix + "encoder.layers.0.mlp.fc1.weight", 0)},
          {"num_hidden_layers", shapes.Count(prefix + "encoder.layers.", ".layer_norm1.weight")},
          {"num_attention_heads", std::max(1, hidden / kHeadSize)},
          {"max_position_embeddings", shapes.Dim(prefix + "embeddings.position_embedding.weight", 0)},
          {"eos_token_id", 2}};
}

// Stable Diffusion 2 takes the state before the last layer through the final norm: one layer less. SDXL takes it as
// it is, and the projection of the last.
json OpenClipConfig(Shapes& shapes, const Texts& texts) {
  const std::string& prefix = texts.open_clip;
  const int hidden = shapes.Dim(prefix + "token_embedding.weight", 1);
  const int layers = shapes.Count(prefix + "transformer.resblocks.", ".ln_1.weight");
  json config = {{"architectures", {texts.sdxl ? "CLIPTextModelWithProjection" : "CLIPTextModel"}},
                 {"hidden_act", "gelu"},
                 {"vocab_size", shapes.Dim(prefix + "token_embedding.weight", 0)},
                 {"hidden_size", hidden},
                 {"intermediate_size", shapes.Dim(prefix + "transformer.resblocks.0.mlp.c_fc.weight", 0)},
                 {"num_hidden_layers", texts.sdxl ? layers : std::max(1, layers - 1)},
                 {"num_attention_heads", std::max(1, hidden / kHeadSize)},
                 {"max_position_embeddings", shapes.Dim(prefix + "positional_embedding", 0)},
                 {"eos_token_id", 2}};
  if (texts.sdxl) config["projection_dim"] = shapes.Dim(prefix + "text_projection", 1);
  return config;
}

json UnetConfig(Shapes& shapes, const Texts& texts, CheckpointCounts* counts) {
  const auto input = [](int n) { return absl::StrCat(kUnet, "input_blocks.", n); };
  const auto output = [](int n) { return absl::StrCat(kUnet, "output_blocks.", n); };
  int inputs = 1, downs = 0;
  for (;; ++inputs) {
    const bool down = shapes.Has(input(inputs) + ".0.op.weight");
    if (!down && !shapes.Has(input(inputs) + ".0.in_layers.0.weight")) break;
    downs += down;
  }
  const int levels = downs + 1, layers = std::max(1, (inputs - 1 - downs) / levels);
  counts->unet_layers = layers;
  const std::string middle = absl::StrCat(kUnet, "middle_block.1.");
  const auto depth = [&](const std::string& transformer) {
    return std::max(1, shapes.Count(transformer + "transformer_blocks.", ".norm1.weight"));
  };
  json channels = json::array(), heads = json::array(), depths = json::array(), down = json::array(),
       up = json::array();
  for (int level = 0; level < levels; ++level) {
    const std::string first = input(1 + level * (layers + 1));
    const bool attends = shapes.Has(first + ".1.norm.weight");
    const int width = shapes.Dim(first + ".0.out_layers.3.weight", 0);
    channels.push_back(width);
    heads.push_back(texts.open_clip.empty() ? 8 : std::max(1, width / kHeadSize));
    depths.push_back(attends ? depth(first + ".1.") : level + 1 == levels ? depth(middle) : 1);
    down.push_back(attends ? "CrossAttnDownBlock2D" : "DownBlock2D");
    up.push_back(shapes.Has(output(level * (layers + 1)) + ".1.norm.weight") ? "CrossAttnUpBlock2D" : "UpBlock2D");
  }
  json config = {{"_class_name", "UNet2DConditionModel"},
                 {"in_channels", shapes.Dim(input(0) + ".0.weight", 1)},
                 {"out_channels", shapes.Dim(absl::StrCat(kUnet, "out.2.weight"), 0)},
                 {"block_out_channels", channels},
                 {"layers_per_block", layers},
                 {"down_block_types", down},
                 {"up_block_types", up},
                 {"attention_head_dim", heads},
                 {"transformer_layers_per_block", depths},
                 {"cross_attention_dim", shapes.Dim(middle + "transformer_blocks.0.attn2.to_k.weight", 1)},
                 {"use_linear_projection", shapes.Rank(middle + "proj_in.weight") == 2}};
  const std::string added = absl::StrCat(kUnet, "label_emb.0.0.weight");
  if (shapes.Has(added)) {
    config["addition_embed_type"] = "text_time";
    config["addition_time_embed_dim"] = 256;
    config["projection_class_embeddings_input_dim"] = shapes.Dim(added, 1);
  }
  return config;
}

json VaeConfigOf(Shapes& shapes, const Texts& texts, CheckpointCounts* counts) {
  const std::string decoder = absl::StrCat(kVae, "decoder.");
  const int levels = std::max(1, shapes.Count(decoder + "up.", ".block.0.conv2.weight"));
  counts->vae_levels = levels;
  json channels = json::array(), down = json::array(), up = json::array();
  for (int level = 0; level < levels; ++level) {
    channels.push_back(shapes.Dim(absl::StrCat(decoder, "up.", level, ".block.0.conv2.weight"), 0));
    down.push_back("DownEncoderBlock2D");
    up.push_back("UpDecoderBlock2D");
  }
  return {{"_class_name", "AutoencoderKL"},
          {"block_out_channels", channels},
          {"down_block_types", down},
          {"up_block_types", up},
          {"layers_per_block", std::max(1, shapes.Count(decoder + "up.0.block.", ".conv2.weight") - 1)},
          {"latent_channels", shapes.Dim(decoder + "conv_in.weight", 1)},
          {"mid_block_add_attention", shapes.Has(decoder + "mid.attn_1.norm.weight")},
          {"use_quant_conv", shapes.Has(absl::StrCat(kVae, "quant_conv.weight"))},
          {"use_post_quant_conv", shapes.Has(absl::StrCat(kVae, "post_quant_conv.weight"))},
          {"scaling_factor", texts.sdxl ? 0.13025 : 0.18215}};
}

// As these families were trained. Some checkpoints carry marks that say otherwise.
json NoiseConfigOf(const Shapes& shapes, const Texts& texts) {
  json config = {{"_class_name", texts.sdxl ? "EulerDiscreteScheduler" : "DDIMScheduler"},
                 {"beta_start", 0.00085},
                 {"beta_end", 0.012},
                 {"beta_schedule", "scaled_linear"},
                 {"num_train_timesteps", 1000},
                 {"steps_offset", 1},
                 {"timestep_spacing", "leading"},
                 {"prediction_type", shapes.Has("v_pred") ? "v_prediction" : "epsilon"}};
  if (shapes.Has("ztsnr")) config["rescale_betas_zero_snr"] = true;
  if (!texts.sdxl) {
    config["clip_sample"] = false;
    config["set_alpha_to_one"] = false;
  }
  return config;
}

json IndexOf(const Texts& texts, const json& noise) {
  json index = {{"_class_name", texts.sdxl ? "StableDiffusionXLPipeline" : "StableDiffusionPipeline"},
                {"scheduler", {"diffusers", noise["_class_name"]}},
                {"unet", {"diffusers", "UNet2DConditionModel"}},
                {"vae", {"diffusers", "AutoencoderKL"}}};
  if (!texts.sdxl || !texts.clip.empty()) {
    index["text_encoder"] = {"transformers", "CLIPTextModel"};
    index["tokenizer"] = {"transformers", "CLIPTokenizer"};
  }
  if (texts.sdxl && texts.clip.empty()) index["force_zeros_for_empty_prompt"] = false;  // the refiner
  if (texts.sdxl) {
    index["text_encoder_2"] = {"transformers", "CLIPTextModelWithProjection"};
    index["tokenizer_2"] = {"transformers", "CLIPTokenizer"};
  }
  return index;
}

}  // namespace

bool Checkpoint::IsThere(const std::string& directory) {
  std::error_code ignored;
  return std::filesystem::exists(absl::StrCat(directory, "/", kCheckpointFile), ignored) &&
         !std::filesystem::exists(directory + "/model_index.json", ignored);
}

absl::StatusOr<Checkpoint> Checkpoint::Open(const std::string& directory) {
  Checkpoint checkpoint;
  checkpoint.path_ = absl::StrCat(directory, "/", kCheckpointFile);
  TS_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(checkpoint.path_));
  TS_ASSIGN_OR_RETURN(const TensorMap tensors, ParseSafetensors(file.bytes(), checkpoint.path_));
  Shapes shapes(tensors);
  const Texts texts = FindTexts(shapes);
  if (texts.clip.empty() && texts.open_clip.empty()) {
    return absl::UnimplementedError(absl::StrCat(
        checkpoint.path_, ": no text encoder of Stable Diffusion 1, 2 or XL by its original name (",
        "cond_stage_model... or conditioner.embedders...); this engine has no other kind of checkpoint"));
  }
  std::map<std::string, json> configs;
  configs["unet/config.json"] = UnetConfig(shapes, texts, &checkpoint.counts_);
  configs["vae/config.json"] = VaeConfigOf(shapes, texts, &checkpoint.counts_);
  if (!texts.clip.empty()) configs["text_encoder/config.json"] = ClipConfig(shapes, texts.clip);
  if (!texts.open_clip.empty()) {
    configs[texts.sdxl ? "text_encoder_2/config.json" : "text_encoder/config.json"] = OpenClipConfig(shapes, texts);
  }
  const json noise = NoiseConfigOf(shapes, texts);
  configs["scheduler/scheduler_config.json"] = noise;
  configs["model_index.json"] = IndexOf(texts, noise);
  if (!shapes.missing().empty()) {
    return absl::NotFoundError(absl::StrCat(checkpoint.path_, ": the checkpoint has no tensor ",
                                            Quoted(shapes.missing())));
  }
  for (const auto& [name, config] : configs) checkpoint.configs_[name] = config.dump();
  return checkpoint;
}

std::optional<std::string> Checkpoint::Config(const std::string& name) const {
  const auto at = configs_.find(name);
  return at == configs_.end() ? std::nullopt : std::optional(at->second);
}

absl::StatusOr<Weights> Checkpoint::Part(CheckpointPart part) const {
  return Weights::OpenRenamed(path_, [&](std::string_view name) -> std::optional<CheckpointName> {
    std::optional<CheckpointName> translated = TranslateCheckpointName(name, counts_);
    if (translated && translated->part != part) return std::nullopt;
    return translated;
  });
}

}  // namespace tiltshift::engine
