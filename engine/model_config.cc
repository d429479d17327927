#include "engine/model_config.h"

#include "base/file.h"

namespace tiltshift::engine {
namespace {

constexpr size_t kMaxConfigBytes = size_t{1} << 20;

int HiddenSize(const ModelConfig& model) {
  int size = 0;
  for (const TextEncoderConfig& text : model.text_encoders) size += text.hidden_size;
  return size;
}

absl::Status CheckExtraInput(const std::string& directory, ModelConfig* model) {
  const int latent = model->vae.latent_channels;
  const std::pair<int, ExtraInput> known[] = {{latent, ExtraInput::kNone},
                                              {2 * latent, ExtraInput::kPhoto},
                                              {2 * latent + 1, ExtraInput::kMaskPhoto}};
  for (const auto& [channels, extra] : known) {
    if (model->unet.in_channels != channels || model->unet.out_channels != latent) continue;
    model->extra_input = extra;
    return absl::OkStatus();
  }
  return absl::UnimplementedError(absl::StrCat(
      directory, ": unet/config.json: in_channels ", model->unet.in_channels, " and out_channels ",
      model->unet.out_channels, "; with the vae's latent_channels of ", latent, " this engine has ",
      latent, " of each, or in_channels of ", 2 * latent, " (a photo) or ", 2 * latent + 1,
      " (a mask and a photo)"));
}

// What stands beside the time: the last encoder's projection, then 6 or 5 embedded numbers.
absl::Status CheckAddedInput(const std::string& directory, ModelConfig* model) {
  const UNetConfig& unet = model->unet;
  const bool pooled = model->index.text == TextRule::kPenultimateHidden;
  if (unet.added_dim == 0 && !pooled) return absl::OkStatus();
  if (unet.added_dim == 0 || !pooled) {
    return absl::UnimplementedError(absl::StrCat(
        directory, ": unet/config.json: addition_embed_type is ", pooled ? "none" : "\"text_time\"",
        ", but model_index.json's _class_name is of a pipeline ", pooled ? "with" : "without",
        " pooled text"));
  }
  const int projection = model->text_encoders.back().projection_dim;
  for (const int numbers : {6, 5}) {
    if (projection + numbers * unet.size_embed_dim == unet.added_dim) model->size_numbers = numbers;
  }
  if (model->size_numbers != 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(directory, ": unet/config.json: projection_class_embeddings_input_dim is ",
                   unet.added_dim, "; it must be the text encoder's projection_dim ", projection,
                   " and 5 or 6 times addition_time_embed_dim ", unet.size_embed_dim));
}

// The parts against one another.
absl::Status CheckTogether(const std::string& directory, ModelConfig* model) {
  if (model->unet.cross_attention_dim != HiddenSize(*model)) {
    std::string sum;
    for (size_t i = 0; i < model->text_encoders.size(); ++i) {
      absl::StrAppend(&sum, i == 0 ? "text_encoder" : " plus text_encoder",
                      model->index.text_suffixes[i], "/config.json: hidden_size is ",
                      model->text_encoders[i].hidden_size);
    }
    return absl::InvalidArgumentError(
        absl::StrCat(directory, ": unet/config.json: cross_attention_dim is ",
                     model->unet.cross_attention_dim, ", ", sum, "; they must be equal"));
  }
  TS_RETURN_IF_ERROR(CheckExtraInput(directory, model));
  return CheckAddedInput(directory, model);
}

}  // namespace

absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& directory) {
  return LoadModelConfig(directory, [](const std::string&) { return std::nullopt; });
}

absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& directory, const MissingConfig& missing) {
  const auto path = [&](const std::string& name) { return directory + "/" + name; };
  const auto read = [&](const std::string& name) -> absl::StatusOr<std::string> {
    absl::StatusOr<std::string> text = ReadFile(path(name), kMaxConfigBytes);
    if (!absl::IsNotFound(text.status())) return text;
    std::optional<std::string> other = missing(name);
    return other ? absl::StatusOr<std::string>(*std::move(other)) : text;
  };
  ModelConfig model;
  TS_ASSIGN_OR_RETURN(const std::string index, read("model_index.json"));
  TS_ASSIGN_OR_RETURN(model.index, ParseModelIndex(index, path("model_index.json")));

  for (const std::string& suffix : model.index.text_suffixes) {
    const std::string file = absl::StrCat("text_encoder", suffix, "/config.json");
    TS_ASSIGN_OR_RETURN(const std::string json, read(file));
    TS_ASSIGN_OR_RETURN(model.text_encoders.emplace_back(), ParseTextEncoderConfig(json, path(file)));
  }

  TS_ASSIGN_OR_RETURN(const std::string unet_json, read("unet/config.json"));
  TS_ASSIGN_OR_RETURN(model.unet, ParseUNetConfig(unet_json, path("unet/config.json")));

  TS_ASSIGN_OR_RETURN(const std::string vae_json, read("vae/config.json"));
  TS_ASSIGN_OR_RETURN(model.vae, ParseVaeConfig(vae_json, path("vae/config.json")));

  const std::string noise_file = "scheduler/scheduler_config.json";
  TS_ASSIGN_OR_RETURN(const std::string noise_json, read(noise_file));
  TS_ASSIGN_OR_RETURN(model.noise, ParseNoiseConfig(noise_json, path(noise_file), model.index.scheduler_class));

  TS_RETURN_IF_ERROR(CheckTogether(directory, &model));
  return model;
}

}  // namespace tiltshift::engine
