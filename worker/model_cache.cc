#include "worker/model_cache.h"

#include <algorithm>

#include "plan/model_folder.h"
#include "plan/model_variant.h"

namespace tiltshift::worker {
namespace {

engine::Precision ToEngine(v1::Precision precision) {
  switch (precision) {
    case v1::PRECISION_BF16:
      return engine::Precision::kBf16;
    case v1::PRECISION_FP32:
      return engine::Precision::kFp32;
    default:
      return engine::Precision::kAuto;
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<const engine::Model>> ModelCache::Get(const v1::JobSpec& spec) {
  const std::string name = plan::ModelVariant(spec);
  const engine::Precision precision =
      options_.force_fp32 ? engine::Precision::kFp32 : ToEngine(spec.render().precision());
  std::lock_guard lock(mutex_);
  const auto known = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.name == name && entry.precision == precision;
  });
  if (known != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, known);
    return known->model;
  }
  TS_ASSIGN_OR_RETURN(auto model, Load(spec, precision));
  entries_.push_front(
      {name, precision, !spec.loras().empty() || !spec.controls().empty(), std::move(model)});
  DropUnused();
  Publish();
  return entries_.front().model;
}

absl::StatusOr<std::shared_ptr<const engine::Model>> ModelCache::Load(
    const v1::JobSpec& spec, engine::Precision precision) const {
  engine::LoadOptions load{
      .precision = precision, .device = options_.device, .weight_cache = options_.weight_cache};
  for (const v1::Lora& lora : spec.loras()) {
    TS_RETURN_IF_ERROR(plan::CheckLoraIsThere(options_.models_folder, lora.name()));
    load.loras.push_back({plan::LoraPath(options_.models_folder, lora.name()), lora.weight()});
  }
  for (const v1::Control& control : spec.controls()) {
    TS_RETURN_IF_ERROR(plan::CheckControlIsThere(options_.models_folder, control.name()));
    load.controls.push_back(
        {absl::StrCat(options_.models_folder, "/", control.name()), control.scale()});
  }
  auto loaded = engine::Model::Load(absl::StrCat(options_.models_folder, "/", spec.model()), load);
  if (!loaded.ok()) return Annotate(loaded.status(), absl::StrCat("model ", spec.model()));
  return loaded;
}

void ModelCache::DropUnused() {
  size_t kept = 0;
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const bool in_use = entry == entries_.begin() || entry->model.use_count() > 1;
    const bool goes = entry->has_set && !in_use && kept >= kSetsKept;
    if (entry->has_set) ++kept;
    entry = goes ? entries_.erase(entry) : std::next(entry);
  }
}

void ModelCache::Publish() {
  std::vector<std::string> names;
  for (const Entry& entry : entries_) names.push_back(entry.name);
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  std::lock_guard lock(names_mutex_);
  names_ = std::move(names);
}

std::vector<std::string> ModelCache::Loaded() const {
  std::lock_guard lock(names_mutex_);
  return names_;
}

}  // namespace tiltshift::worker
