#include "engine/control_files.h"

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/hash.h"

namespace tiltshift::engine {
namespace {

constexpr size_t kMaxConfigBytes = size_t{1} << 20;
constexpr char kConfig[] = "/config.json";

std::string Text(int value) { return absl::StrCat(value); }
std::string Text(const std::vector<int>& values) {
  return absl::StrCat("[", absl::StrJoin(values, ", "), "]");
}

// The 1x1 convolutions through which all that it makes goes, made `scale` times as large.
absl::Status Scale(double scale, Weights* weights) {
  std::vector<std::string> outputs;
  for (const auto& [name, view] : weights->tensors()) {
    if (name.starts_with("controlnet_down_blocks.") || name.starts_with("controlnet_mid_block."))
      outputs.push_back(name);
  }
  for (const std::string& name : outputs) {
    const TensorView& view = *weights->Find(name);
    std::vector<float> values(view.elements());
    TS_RETURN_IF_ERROR(CopyAsFloat(view, values));
    for (float& value : values) value *= static_cast<float>(scale);
    weights->Replace(name, values, Dtype::kF32);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelFiles::Control> OpenControl(const std::string& directory) {
  TS_ASSIGN_OR_RETURN(const std::string json, ReadFile(directory + kConfig, kMaxConfigBytes));
  TS_ASSIGN_OR_RETURN(UNetConfig config, ParseControlNetConfig(json, directory + kConfig));
  TS_ASSIGN_OR_RETURN(Weights weights, Weights::Open(directory, "diffusion_pytorch_model"));
  return ModelFiles::Control{std::move(config), std::move(weights)};
}

absl::StatusOr<std::string> HashOfControl(const std::string& directory,
                                          const ModelFiles::Control& control) {
  TS_ASSIGN_OR_RETURN(const std::string json, ReadFile(directory + kConfig, kMaxConfigBytes));
  Sha256 hash;
  hash.Update(absl::StrCat("config.json\n", json.size(), "\n"));
  hash.Update(json);
  for (const auto& file : control.weights.files()) {
    hash.Update(absl::StrCat("weights\n", file->bytes().size(), "\n"));
    hash.Update(file->bytes());
    MappedFile::Release(file->bytes());
  }
  return hash.Hex();
}

absl::Status CheckControlFits(const UNetConfig& control, const std::string& name,
                              const ModelConfig& config, const std::string& model) {
  const auto differ = [&](const char* field, const auto& ours, const auto& theirs) {
    if (ours == theirs) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(name, kConfig, ": ", field, " is ", Text(ours),
                                                   ", and ", Text(theirs), " in ", model,
                                                   ": it was made for another base model"));
  };
  const UNetConfig& unet = config.unet;
  TS_RETURN_IF_ERROR(
      differ("cross_attention_dim", control.cross_attention_dim, unet.cross_attention_dim));
  TS_RETURN_IF_ERROR(
      differ("block_out_channels", control.block_out_channels, unet.block_out_channels));
  TS_RETURN_IF_ERROR(differ("layers_per_block", control.layers_per_block, unet.layers_per_block));
  TS_RETURN_IF_ERROR(differ("in_channels", control.in_channels, unet.in_channels));
  TS_RETURN_IF_ERROR(
      differ("projection_class_embeddings_input_dim", control.added_dim, unet.added_dim));
  TS_RETURN_IF_ERROR(
      differ("addition_time_embed_dim", control.size_embed_dim, unet.size_embed_dim));
  TS_RETURN_IF_ERROR(differ("time_cond_proj_dim", control.guidance_embed_dim, 0));
  if (control.hint_scale() == config.vae.scale()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, kConfig, ": conditioning_embedding_out_channels has ",
                   control.hint_channels.size(), " sizes, for latents of 1/", control.hint_scale(),
                   " of the picture; ", model, "'s are 1/", config.vae.scale()));
}

absl::Status AddControls(std::span<const ControlUse> controls, const std::string& model,
                         ModelFiles* files) {
  if (controls.empty()) return absl::OkStatus();
  Sha256 hash;
  hash.Update(files->hash);
  for (const ControlUse& use : controls) {
    if (!(use.scale >= 0 && use.scale <= kMostControlScale)) {
      return absl::InvalidArgumentError(absl::StrCat(use.directory, ": scale ", use.scale,
                                                     " is outside 0 to ", kMostControlScale));
    }
    TS_ASSIGN_OR_RETURN(ModelFiles::Control control, OpenControl(use.directory));
    TS_RETURN_IF_ERROR(CheckControlFits(control.config, use.directory, files->config, model));
    TS_ASSIGN_OR_RETURN(const std::string own, HashOfControl(use.directory, control));
    hash.Update(absl::StrFormat("\ncontrol %s %.17g", own, use.scale));
    if (use.scale != 1) TS_RETURN_IF_ERROR(Scale(use.scale, &control.weights));
    files->controls.push_back(std::move(control));
  }
  files->hash = hash.Hex();
  return absl::OkStatus();
}

}  // namespace tiltshift::engine
