#include "engine/demands.h"

#include "engine/control_files.h"
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

void AddMisfittingLoras(const ModelFiles& files, const std::vector<std::string>& loras,
                        std::vector<std::string>* misfits) {
  if (loras.empty()) return;
  LoraComponents components = {{"unet", &files.unet}};
  for (size_t i = 0; i < files.texts.size(); ++i)
    components["text_encoder" + files.config.index.text_suffixes[i]] = &files.texts[i].weights;
  const auto targets = LoraTargets(components, files.config.unet);
  for (const std::string& lora : loras) {
    const auto file = LoraFile::Open(lora);
    if (file.ok() && !CheckLoraFits(*file, "", targets, "").ok()) misfits->push_back(lora);
  }
}

void AddMisfittingControls(const ModelFiles& files, const std::vector<std::string>& controls,
                           std::vector<std::string>* misfits) {
  for (const std::string& directory : controls) {
    const auto control = OpenControl(directory);
    if (control.ok() && !CheckControlFits(control->config, "", files.config, "").ok())
      misfits->push_back(directory);
  }
}

}  // namespace

ModelDemands DemandsOf(const ModelFiles& files, const Beside& beside) {
  ModelDemands demands = {.needs = NeedsOf(files.config.extra_input),
                          .size_multiple = files.config.size_multiple(),
                          .has_sampler = files.config.noise.default_sampler.has_value()};
  AddMisfittingLoras(files, beside.loras, &demands.misfits);
  AddMisfittingControls(files, beside.controls, &demands.misfits);
  return demands;
}

}  // namespace tiltshift::engine
