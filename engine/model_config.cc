#include "engine/model_config.h"

#include "base/file.h"
#include "engine/config_reader.h"
#include "engine/json_text.h"

namespace tiltshift::engine {
namespace {

constexpr size_t kMaxConfigBytes = size_t{1} << 20;

// model_index.json: which class each part is. Gives the scheduler's.
absl::StatusOr<std::string> CheckModelIndex(const std::string& path) {
  TS_ASSIGN_OR_RETURN(const nlohmann::json index, ReadJsonObject(path));
  const auto word = [&](const char* part) -> std::string {
    const auto at = index.find(part);
    if (at == index.end()) return "";
    if (at->is_string()) return at->get<std::string>();
    const bool pair = at->is_array() && at->size() == 2 && (*at)[1].is_string();
    return pair ? (*at)[1].get<std::string>() : "";
  };
  const struct {
    const char* part;
    std::vector<std::string> classes;
  } parts[] = {{"_class_name", {"StableDiffusionPipeline"}},
               {"text_encoder", {"CLIPTextModel"}},
               {"tokenizer", {"CLIPTokenizer", "CLIPTokenizerFast"}},
               {"unet", {"UNet2DConditionModel"}},
               {"vae", {"AutoencoderKL", "AutoencoderTiny"}}};
  for (const auto& [part, classes] : parts) {
    const std::string found = word(part);
    if (std::find(classes.begin(), classes.end(), found) != classes.end()) continue;
    return absl::UnimplementedError(
        absl::StrCat(path, ": ", part, " is ", Quoted(found), "; this engine has ", classes[0]));
  }
  return word("scheduler");
}

// The parts against one another.
absl::Status CheckTogether(const std::string& directory, const ModelConfig& model) {
  if (model.unet.cross_attention_dim != model.text_encoder.hidden_size) {
    return absl::InvalidArgumentError(
        absl::StrCat(directory, ": unet/config.json: cross_attention_dim is ",
                     model.unet.cross_attention_dim, ", text_encoder/config.json: hidden_size is ",
                     model.text_encoder.hidden_size, "; they must be equal"));
  }
  const int latent = model.vae.latent_channels;
  if (model.unet.in_channels != latent || model.unet.out_channels != latent) {
    return absl::UnimplementedError(absl::StrCat(
        directory, ": unet/config.json: in_channels ", model.unet.in_channels, " and out_channels ",
        model.unet.out_channels, " differ from the vae's latent_channels ", latent,
        "; inpainting and picture-to-picture networks are not implemented"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TextEncoderConfig> ParseTextEncoderConfig(std::string_view json,
                                                         const std::string& file) {
  TS_ASSIGN_OR_RETURN(ConfigReader config, ConfigReader::Parse(json, file));
  TextEncoderConfig text;
  text.vocab_size = config.Int("vocab_size", 49408, 1, 1 << 22);
  text.hidden_size = config.Int("hidden_size", 512, 1, 1 << 14);
  text.intermediate_size = config.Int("intermediate_size", 2048, 1, 1 << 16);
  text.layers = config.Int("num_hidden_layers", 12, 1, 256);
  text.attention_heads = config.Int("num_attention_heads", 8, 1, 1024);
  text.max_positions = config.Int("max_position_embeddings", 77, 1, 1 << 16);
  text.layer_norm_eps = static_cast<float>(config.Number("layer_norm_eps", 1e-5, 1e-12, 1));
  config.Only("model_type", {"clip_text_model"});
  config.Only("architectures", {nlohmann::json::array({"CLIPTextModel"})});
  config.Only("hidden_act", {"quick_gelu", "gelu"});
  text.activation = config.String("hidden_act", "quick_gelu") == "gelu" ? Activation::kGelu
                                                                        : Activation::kQuickGelu;
  if (text.hidden_size % text.attention_heads != 0) {
    config.Invalid("num_attention_heads",
                   absl::StrCat("is ", text.attention_heads, ", which does not divide hidden_size ",
                                text.hidden_size));
  }
  // No Finish(): transformers saves dozens of fields here that only training and text generation
  // read.
  TS_RETURN_IF_ERROR(config.status());
  return text;
}

absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& directory) {
  ModelConfig model;
  TS_ASSIGN_OR_RETURN(const std::string scheduler_class,
                      CheckModelIndex(directory + "/model_index.json"));

  const std::string text_file = directory + "/text_encoder/config.json";
  TS_ASSIGN_OR_RETURN(const std::string text_json, ReadFile(text_file, kMaxConfigBytes));
  TS_ASSIGN_OR_RETURN(model.text_encoder, ParseTextEncoderConfig(text_json, text_file));

  const std::string unet_file = directory + "/unet/config.json";
  TS_ASSIGN_OR_RETURN(const std::string unet_json, ReadFile(unet_file, kMaxConfigBytes));
  TS_ASSIGN_OR_RETURN(model.unet, ParseUNetConfig(unet_json, unet_file));

  const std::string vae_file = directory + "/vae/config.json";
  TS_ASSIGN_OR_RETURN(const std::string vae_json, ReadFile(vae_file, kMaxConfigBytes));
  TS_ASSIGN_OR_RETURN(model.vae, ParseVaeConfig(vae_json, vae_file));

  const std::string noise_file = directory + "/scheduler/scheduler_config.json";
  TS_ASSIGN_OR_RETURN(const std::string noise_json, ReadFile(noise_file, kMaxConfigBytes));
  TS_ASSIGN_OR_RETURN(model.noise, ParseNoiseConfig(noise_json, noise_file, scheduler_class));

  TS_RETURN_IF_ERROR(CheckTogether(directory, model));
  return model;
}

}  // namespace tiltshift::engine
