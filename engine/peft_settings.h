// What diffusers writes of PEFT's LoraConfig into a LoRA file's metadata ("lora_adapter_metadata"):
// the alphas of files that have none as tensors.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tiltshift::engine {

class PeftSettings {
 public:
  // Of a safetensors file that ParseSafetensors took. Empty where it says nothing of them.
  // Unimplemented: DoRA. DataLoss: not as diffusers writes it.
  static absl::StatusOr<PeftSettings> OfSafetensors(std::string_view bytes,
                                                    const std::string& file);

  // alpha / rank, or alpha / sqrt(rank) where the file says so (rsLoRA); 1 where it says nothing.
  float Scale(const std::string& layer, int64_t rank) const;

 private:
  struct Component {
    double alpha = 0;
    bool rank_stabilized = false;
    std::map<std::string, double> alphas;  // by layer, or by how its name ends
  };
  std::map<std::string, Component>
      components_;  // by what its layers' names begin with, "unet."; may be ""
};

}  // namespace tiltshift::engine
