// How the tensors of a LoRA file are called: which layer each is for, and which factor of it.
//
//   unet.mid_block.attentions.0.proj_in.lora_A.weight      diffusers and PEFT, also with a prefix
//                                                          "base_model.model." or with no "unet."
//   unet.....attn1.to_q.lora.down.weight                   diffusers before PEFT, also
//   unet.....attn1.processor.to_q_lora.down.weight         ... and the oldest of it
//   text_encoder.....q_proj.lora_linear_layer.up.weight
//   lora_unet_mid_block_attentions_0_proj_in.lora_down.weight, .lora_mid.weight, .alpha
//                                                          kohya: dots are underscores; "lora_te_",
//                                                          "lora_te1_", "lora_te2_" for text
//                                                          encoders
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tiltshift::engine {

enum class LoraFactor { kDown, kUp, kMid, kAlpha };

struct LoraKey {
  std::string layer;  // dotted without ".processor.", or in kohya's spelling
  LoraFactor factor = LoraFactor::kDown;
};

// Nothing for a key of no LoRA. Unimplemented for those of LoHa, LoKr, DoRA and biases, naming what
// it is.
absl::StatusOr<std::optional<LoraKey>> ParseLoraKey(std::string_view key);

// "lora_unet_mid_block_..." rather than dots.
bool IsKohya(std::string_view layer);

}  // namespace tiltshift::engine
