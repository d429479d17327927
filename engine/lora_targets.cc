#include "engine/lora_targets.h"

#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace tiltshift::engine {
namespace {

using Words = std::vector<std::string>;

std::string Underscored(const std::string& layer) {
  return absl::StrReplaceAll(layer, {{".", "_"}});
}

// The layers of a ResnetBlock2D, and what is the same in both worlds.
std::string OriginalInner(const Words& words, size_t from) {
  const std::string inner =
      absl::StrJoin(words.begin() + static_cast<long>(from), words.end(), ".");
  const std::map<std::string, std::string> names = {{"conv1", "in_layers.2"},
                                                    {"time_emb_proj", "emb_layers.1"},
                                                    {"conv2", "out_layers.3"},
                                                    {"conv_shortcut", "skip_connection"}};
  const auto named = names.find(inner);
  return named == names.end() ? inner : named->second;
}

// down_blocks.B.KIND.I.rest and up_blocks.B.KIND.I.rest.
std::string OriginalBlock(const Words& words, const UNetConfig& config) {
  int block = 0, index = 0;
  if (words.size() < 5 || !absl::SimpleAtoi(words[1], &block) ||
      !absl::SimpleAtoi(words[3], &index))
    return "";
  if (block < 0 || block >= config.levels()) return "";
  const bool down = words[0] == "down_blocks";
  const int stride = config.layers_per_block[0] + 1;
  const std::string blocks = down ? "input_blocks." : "output_blocks.";
  const int place = down ? 1 + block * stride + index : block * stride + index;
  if (words[2] == "resnets") return absl::StrCat(blocks, place, ".0.", OriginalInner(words, 4));
  if (words[2] == "attentions") return absl::StrCat(blocks, place, ".1.", OriginalInner(words, 4));
  if (words[2] == "downsamplers") return absl::StrCat(blocks, (block + 1) * stride, ".0.op");
  return absl::StrCat(blocks, block * stride + stride - 1, config.up_attention[block] ? ".2" : ".1",
                      ".conv");
}

std::string OriginalMid(const Words& words) {
  if (words.size() < 4) return "";
  const std::string place = words[1] == "attentions" ? "1" : words[2] == "0" ? "0" : "2";
  return absl::StrCat("middle_block.", place, ".", OriginalInner(words, 3));
}

using Targets = std::map<std::string, LoraTarget>;

// Calls f(layer, target) for each matrix and filter of a component; a layer is its tensor's name
// without ".weight".
template <typename F>
void ForEachLayer(const std::string& component, const Weights& weights, F f) {
  constexpr std::string_view kEnd = ".weight";
  for (const auto& [name, view] : weights.tensors()) {
    if (view.shape.size() < 2 || !name.ends_with(kEnd)) continue;
    f(name.substr(0, name.size() - kEnd.size()), LoraTarget{component, name, &view});
  }
}

void AddUNet(const Weights& weights, const UNetConfig& config, Targets* targets) {
  ForEachLayer("unet", weights, [&](const std::string& layer, const LoraTarget& target) {
    const std::string original = OriginalUNetName(layer, config);
    for (const std::string& name : {"unet." + layer, layer, "lora_unet_" + Underscored(layer)})
      targets->emplace(name, target);
    if (!original.empty()) targets->emplace("lora_unet_" + Underscored(original), target);
  });
}

void AddTextEncoder(const std::string& component, const Weights& weights, Targets* targets) {
  const Words kohya =
      component == "text_encoder" ? Words{"lora_te_", "lora_te1_"} : Words{"lora_te2_"};
  ForEachLayer(component, weights, [&](const std::string& layer, const LoraTarget& target) {
    // Files of transformers before 5 have "text_model." and later ones may not; projections never
    // had it.
    const std::string bare = layer.starts_with("text_model.") ? layer.substr(11) : layer;
    for (const std::string& name : {bare, "text_model." + bare}) {
      targets->emplace(absl::StrCat(component, ".", name), target);
      for (const std::string& prefix : kohya) targets->emplace(prefix + Underscored(name), target);
    }
  });
}

}  // namespace

std::string OriginalUNetName(const std::string& layer, const UNetConfig& config) {
  const std::map<std::string, std::string> single = {{"conv_in", "input_blocks.0.0"},
                                                     {"conv_out", "out.2"},
                                                     {"time_embedding.linear_1", "time_embed.0"},
                                                     {"time_embedding.linear_2", "time_embed.2"},
                                                     {"add_embedding.linear_1", "label_emb.0.0"},
                                                     {"add_embedding.linear_2", "label_emb.0.2"}};
  const auto named = single.find(layer);
  if (named != single.end()) return named->second;
  const Words words = absl::StrSplit(layer, '.');
  if (words[0] == "down_blocks" || words[0] == "up_blocks") return OriginalBlock(words, config);
  return words[0] == "mid_block" ? OriginalMid(words) : "";
}

Targets LoraTargets(const LoraComponents& components, const UNetConfig& unet) {
  Targets targets;
  for (const auto& [component, weights] : components) {
    if (component == "unet") {
      AddUNet(*weights, unet, &targets);
    } else {
      AddTextEncoder(component, *weights, &targets);
    }
  }
  return targets;
}

}  // namespace tiltshift::engine
