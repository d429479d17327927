// Which tensor of a model a LoRA's layer stands for, in each of the ways that layers are called.
#pragma once

#include <map>
#include <string>

#include "engine/model_config.h"
#include "engine/weights.h"

namespace tiltshift::engine {

// What LoRAs change, by diffusers' names: "unet", "text_encoder", "text_encoder_2".
using LoraComponents = std::map<std::string, const Weights*>;

struct LoraTarget {
  std::string component;
  std::string tensor;                // "mid_block.attentions.0.proj_in.weight"
  const TensorView* view = nullptr;  // as long as the Weights live
};

// Every matrix and filter of the components, under all of its names: with dots as diffusers has it
// ("unet.mid_block...", or without "unet."), kohya's with underscores ("lora_unet_mid_block_..."),
// and those of the original Stable Diffusion that kohya uses for SDXL
// ("lora_unet_middle_block_1_...").
std::map<std::string, LoraTarget> LoraTargets(const LoraComponents& components,
                                              const UNetConfig& unet);

// What the original Stable Diffusion calls a UNet's layer ("input_blocks.1.1.proj_in"); empty: none
// of its own.
std::string OriginalUNetName(const std::string& layer, const UNetConfig& config);

}  // namespace tiltshift::engine
