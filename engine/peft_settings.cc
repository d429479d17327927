#include "engine/peft_settings.h"

#include <cmath>

#include "engine/json_text.h"
#include "nlohmann/json.hpp"

namespace tiltshift::engine {
namespace {

using nlohmann::json;

constexpr char kKey[] = "lora_adapter_metadata";
constexpr double kMostAlpha = 1e6;

std::string_view Header(std::string_view bytes) {
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | static_cast<uint8_t>(bytes[i]);
  return bytes.substr(8, length);
}

// PEFT's: the pattern is the name, or what follows one of its dots.
bool Matches(std::string_view pattern, std::string_view layer) {
  if (pattern.starts_with('^')) return layer == pattern.substr(1);
  return layer == pattern ||
         (layer.ends_with(pattern) && layer[layer.size() - pattern.size() - 1] == '.');
}

bool IsAlpha(const json& value) {
  return value.is_number() && std::abs(value.get<double>()) <= kMostAlpha;
}

}  // namespace

absl::StatusOr<PeftSettings> PeftSettings::OfSafetensors(std::string_view bytes,
                                                         const std::string& file) {
  PeftSettings settings;
  const std::string_view header = Header(bytes);
  if (header.find(kKey) == std::string_view::npos) return settings;
  TS_ASSIGN_OR_RETURN(const json parsed, ParseJsonObject(header, file));
  const auto metadata = parsed.find("__metadata__");
  if (metadata == parsed.end() || !metadata->contains(kKey)) return settings;
  const json& written = (*metadata)[kKey];
  TS_ASSIGN_OR_RETURN(const json config,
                      ParseJsonObject(written.is_string() ? written.get<std::string>() : "",
                                      absl::StrCat(file, ": metadata ", kKey)));
  const auto bad = [&](const std::string& field) {
    return absl::DataLossError(
        absl::StrCat(file, ": metadata ", kKey, ": ", Quoted(field), " is not as PEFT writes it"));
  };
  for (const auto& [key, value] : config.items()) {
    const size_t dot = key.rfind('.');
    const std::string field = key.substr(dot + 1);
    const std::string prefix = key.substr(0, dot + 1);
    const auto component = [&]() -> Component& { return settings.components_[prefix]; };
    if (field == "use_dora" && value == json(true)) {
      return absl::UnimplementedError(
          absl::StrCat(file, ": is a DoRA; this engine has LoRA alone"));
    }
    if (field == "use_rslora" && value == json(true)) component().rank_stabilized = true;
    if (field == "lora_alpha") {
      if (!IsAlpha(value)) return bad(key);
      component().alpha = value.get<double>();
    }
    if (field != "alpha_pattern" || value.is_null()) continue;
    if (!value.is_object()) return bad(key);
    for (const auto& [pattern, alpha] : value.items()) {
      if (!IsAlpha(alpha)) return bad(key);
      component().alphas[pattern] = alpha.get<double>();
    }
  }
  return settings;
}

float PeftSettings::Scale(const std::string& layer, int64_t rank) const {
  // From the end: "" begins every name.
  for (auto at = components_.rbegin(); at != components_.rend(); ++at) {
    const auto& [prefix, component] = *at;
    if (!layer.starts_with(prefix)) continue;
    double alpha = component.alpha;
    for (const auto& [pattern, own] : component.alphas) {
      if (Matches(pattern, std::string_view(layer).substr(prefix.size()))) alpha = own;
    }
    const double divisor = component.rank_stabilized ? std::sqrt(rank) : static_cast<double>(rank);
    return static_cast<float>(alpha / divisor);
  }
  return 1;
}

}  // namespace tiltshift::engine
