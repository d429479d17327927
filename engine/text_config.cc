#include "engine/config_reader.h"
#include "engine/json_text.h"
#include "engine/model_config.h"

namespace tiltshift::engine {

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
  config.Only("architectures", {nlohmann::json::array({"CLIPTextModel"}),
                                nlohmann::json::array({"CLIPTextModelWithProjection"})});
  const std::vector<std::string> architecture = config.Has("architectures")
                                                    ? config.Strings("architectures", {}, 1)
                                                    : std::vector<std::string>{"CLIPTextModel"};
  if (config.status().ok() && architecture[0] == "CLIPTextModelWithProjection") {
    text.projection_dim = config.Int("projection_dim", 512, 1, 1 << 14);
  }
  if (config.Has("eos_token_id")) {
    const int end = config.Int("eos_token_id", 2, 0, 1 << 22);
    if (end != 2) text.end_token = end;
  } else {
    text.end_token = 49407;
  }
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

}  // namespace tiltshift::engine
