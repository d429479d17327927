// LoRAs into a model's weights, before any network is made of them.
#pragma once

#include <span>

#include "base/status.h"
#include "engine/backend.h"
#include "engine/lora_file.h"
#include "engine/lora_targets.h"
#include "engine/model_files.h"
#include "engine/renderer.h"

namespace tiltshift::engine {

// W becomes W + weight * scale * up @ down, summed in fp32, for each layer that a LoRA names;
// files->hash becomes that of the model with this set. The set's order does not matter: neither for
// the hash nor for a single bit. Merged tensors lie in memory of their own, F32, or BF16 where
// `compute` would round them to that in any case; tensors that are not touched stay mapped.
//
// InvalidArgument: a weight that is out of range, a file twice, layers that the model does not have
// or has in another shape: the LoRA is for another base model; up to ten are named. Otherwise
// LoraFile::Open's. `model` is what messages call it.
absl::Status MergeLoras(std::span<const LoraUse> loras, const std::string& model, Compute compute,
                        ModelFiles* files);

// InvalidArgument, with up to ten of the layers named, where the model has no such layers or of
// another shape. `lora` and `model` are what messages call them.
absl::Status CheckLoraFits(const LoraFile& file, const std::string& lora,
                           const std::map<std::string, LoraTarget>& targets,
                           const std::string& model);

}  // namespace tiltshift::engine
