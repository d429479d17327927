// Where the names in a spec are found: a model folder holds a folder a model, NAME/model_index.json
// and what is beside it. Looks at names only; the engine reads the files.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace tiltshift::plan {

// Sorted. What has a model's parts but no model_index.json counts: it is a model, and incomplete.
std::vector<std::string> ModelNames(const std::string& folder);

// .safetensors files that lie where nothing looks, relative to the folder and sorted: beside the
// models, or in a folder that is none. Each is most likely a checkpoint that is to be moved.
std::vector<std::string> StrayFiles(const std::string& folder);
// "dreamshaper.safetensors lies where nothing looks: ..." and where it belongs.
std::string StrayAdvice(const std::string& file);

// NotFound, with the names there are, and where a stray file has the name what to do with it,
// unless `model` is one of them.
absl::Status CheckModelIsThere(const std::string& folder, const std::string& model);

// LoRAs lie beside the models: loras/NAME.safetensors. Sorted.
std::vector<std::string> LoraNames(const std::string& folder);
std::string LoraPath(const std::string& folder, const std::string& name);
absl::Status CheckLoraIsThere(const std::string& folder, const std::string& lora);

// ControlNets lie among the models, NAME/config.json and its weights, or in a model's folder, as
// diffusers' pipelines with ControlNets are saved: MODEL/controlnet, MODEL/controlnet_1 and so on.
// Sorted.
std::vector<std::string> ControlNames(const std::string& folder);
absl::Status CheckControlIsThere(const std::string& folder, const std::string& control);

}  // namespace tiltshift::plan
