#include "engine/lora_keys.h"

#include "absl/strings/str_replace.h"
#include "engine/json_text.h"

namespace tiltshift::engine {
namespace {

struct Ending {
  std::string_view text;
  LoraFactor factor;
};

// Longer ones before those they end with.
constexpr Ending kEndings[] = {{".lora_linear_layer.down.weight", LoraFactor::kDown},
                               {".lora_linear_layer.up.weight", LoraFactor::kUp},
                               {".lora_A.default.weight", LoraFactor::kDown},
                               {".lora_B.default.weight", LoraFactor::kUp},
                               {".lora_A.weight", LoraFactor::kDown},
                               {".lora_B.weight", LoraFactor::kUp},
                               {".lora_down.weight", LoraFactor::kDown},
                               {".lora_up.weight", LoraFactor::kUp},
                               {".lora_mid.weight", LoraFactor::kMid},
                               {".lora.down.weight", LoraFactor::kDown},
                               {".lora.up.weight", LoraFactor::kUp},
                               {"_lora.down.weight", LoraFactor::kDown},
                               {"_lora.up.weight", LoraFactor::kUp},
                               {".alpha", LoraFactor::kAlpha}};

struct Other {
  std::string_view part, what;
};

constexpr Other kOthers[] = {{".hada_w", "a LoHa's"},
                             {".hada_t", "a LoHa's"},
                             {".lokr_", "a LoKr's"},
                             {".dora_scale", "a DoRA's"},
                             {".lora_magnitude_vector", "a DoRA's"},
                             {".lora_embedding_", "of an embedding"},
                             {".lora_B.bias", "a bias"},
                             {".oft_", "an OFT's"}};

// What only the oldest files write, in today's words.
std::string Modern(std::string layer) {
  for (const std::string_view prefix : {"base_model.model.", "base_model."}) {
    if (layer.starts_with(prefix)) layer.erase(0, prefix.size());
  }
  layer = absl::StrReplaceAll(layer, {{".processor.", "."}});
  const auto end = [&](std::string_view from, std::string_view to) {
    if (layer.ends_with(from)) layer.replace(layer.size() - from.size(), from.size(), to);
  };
  if (layer.starts_with("text_encoder")) {
    for (const char* which : {"q", "k", "v", "out"}) {
      end(absl::StrCat("self_attn.to_", which), absl::StrCat("self_attn.", which, "_proj"));
    }
  } else {
    end(".to_out", ".to_out.0");
  }
  return layer;
}

}  // namespace

bool IsKohya(std::string_view layer) { return layer.starts_with("lora_"); }

absl::StatusOr<std::optional<LoraKey>> ParseLoraKey(std::string_view key) {
  for (const auto& [part, what] : kOthers) {
    if (key.find(part) == std::string_view::npos) continue;
    return absl::UnimplementedError(
        absl::StrCat("tensor ", Quoted(key), " is ", std::string(what),
                     "; this engine has LoRA alone: factors down, up and mid, and alpha"));
  }
  for (const auto& [text, factor] : kEndings) {
    if (!key.ends_with(text)) continue;
    std::string layer(key.substr(0, key.size() - text.size()));
    return LoraKey{IsKohya(layer) ? layer : Modern(std::move(layer)), factor};
  }
  return std::nullopt;
}

}  // namespace tiltshift::engine
