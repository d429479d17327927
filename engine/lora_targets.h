// Which tensor of a model a LoRA's layer stands for, in each of the ways that layers are called.
#pragma once

#include <map>
#include <string>

#include "engine/model_files.h"

namespace tiltshift::engine {

struct LoraTarget {
  Weights* weights = nullptr;
  std::string tensor;  // "mid_block.attentions.0.proj_in.weight"
};

// Every matrix and filter of the UNet and the text encoders, under all of its names: with dots as
// diffusers has it
// ("unet.mid_block...", or without "unet."), kohya's with underscores ("lora_unet_mid_block_..."),
// and those of the original Stable Diffusion that kohya uses for SDXL
// ("lora_unet_middle_block_1_...").
std::map<std::string, LoraTarget> LoraTargets(ModelFiles* files);

// What the original Stable Diffusion calls a UNet's layer ("input_blocks.1.1.proj_in"); empty: none
// of its own.
std::string OriginalUNetName(const std::string& layer, const UNetConfig& config);

}  // namespace tiltshift::engine
