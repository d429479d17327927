#include "engine/demands.h"

#include "engine/lora_merge.h"

namespace tiltshift::engine {
namespace {

std::string NeedsOf(ExtraInput extra) {
  switch (extra) {
    case ExtraInput::kPhoto:
      return "a photo";
    case ExtraInput::kMaskPhoto:
      return "a photo and a mask";
    case ExtraInput::kNone:
      break;
  }
  return "";
}

std::vector<std::string> Misfits(const ModelFiles& files, const std::vector<std::string>& loras) {
  if (loras.empty()) return {};
  LoraComponents components = {{"unet", &files.unet}};
  for (size_t i = 0; i < files.texts.size(); ++i)
    components["text_encoder" + files.config.index.text_suffixes[i]] = &files.texts[i].weights;
  const auto targets = LoraTargets(components, files.config.unet);
  std::vector<std::string> misfits;
  for (const std::string& lora : loras) {
    const auto file = LoraFile::Open(lora);
    if (file.ok() && !CheckLoraFits(*file, "", targets, "").ok()) misfits.push_back(lora);
  }
  return misfits;
}

}  // namespace

ModelDemands DemandsOf(const ModelFiles& files, const std::vector<std::string>& loras) {
  return {.needs = NeedsOf(files.config.extra_input),
          .size_multiple = files.config.size_multiple(),
          .has_sampler = files.config.noise.default_sampler.has_value(),
          .misfits = Misfits(files, loras)};
}

}  // namespace tiltshift::engine
