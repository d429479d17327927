// ControlNets on a disk: read, held against the model that they are to steer, and added to its
// files.
#pragma once

#include <span>
#include <string>

#include "base/status.h"
#include "engine/model_files.h"
#include "engine/renderer.h"

namespace tiltshift::engine {

// `directory` in diffusers' layout: config.json and diffusion_pytorch_model.safetensors. Errors
// name the file.
absl::StatusOr<ModelFiles::Control> OpenControl(const std::string& directory);

// SHA-256 over its config and its weights.
absl::StatusOr<std::string> HashOfControl(const std::string& directory,
                                          const ModelFiles::Control& control);

// InvalidArgument where it was made for a model of another kind; the field, and both values. `name`
// and `model` are what the message calls them.
absl::Status CheckControlFits(const UNetConfig& control, const std::string& name,
                              const ModelConfig& config, const std::string& model);

// Into files->controls, what each adds multiplied by its scale in fp32; files->hash becomes that of
// the model with them. InvalidArgument: a scale out of range, or one that does not fit; otherwise
// OpenControl's.
absl::Status AddControls(std::span<const ControlUse> controls, const std::string& model,
                         ModelFiles* files);

}  // namespace tiltshift::engine
