#include "scheduler/placement.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "plan/photo_id.h"

namespace tiltshift::scheduler {
namespace {

constexpr size_t kHashShown = 12;
// ModelInfo.needs of a model that edits photos, and of one that fills in masks.
constexpr char kAPhoto[] = "a photo", kAPhotoAndAMask[] = "a photo and a mask";

using Infos = google::protobuf::RepeatedPtrField<v1::BesideInfo>;

const v1::BesideInfo* Find(const Infos& infos, const std::string& name) {
  for (const v1::BesideInfo& info : infos) {
    if (info.name() == name) return &info;
  }
  return nullptr;
}

// What a job names of one kind, as "a LoRA", and where in its spec.
template <class Named>
absl::Status CheckFits(const google::protobuf::RepeatedPtrField<Named>& named,
                       const std::string& field, const Infos& infos, const std::string& model) {
  for (int i = 0; i < named.size(); ++i) {
    const v1::BesideInfo* info = Find(infos, named[i].name());
    if (info == nullptr) continue;
    const std::string path = absl::StrCat(field, "[", i, "].name: ", info->name());
    if (!info->problem().empty())
      return absl::InvalidArgumentError(absl::StrCat(path, " can't be read: ", info->problem()));
    if (std::ranges::find(info->misfits(), model) != info->misfits().end()) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, " does not fit model ", model,
          ": it was made for another base model (`tiltshift models` shows what fits what)"));
    }
  }
  return absl::OkStatus();
}

// The first that the worker has not; null: it has all.
template <class Named>
const std::string* Missing(const google::protobuf::RepeatedPtrField<Named>& named,
                           const Infos& infos) {
  for (const Named& one : named) {
    if (Find(infos, one.name()) == nullptr) return &one.name();
  }
  return nullptr;
}

}  // namespace

const v1::ModelInfo* FindModel(const v1::Hello& worker, const std::string& model) {
  for (const v1::ModelInfo& info : worker.models()) {
    if (info.name() == model || info.name() == "*") return &info;
  }
  return nullptr;
}

std::string RenderClassOn(const v1::JobSpec& spec, const v1::Hello& worker) {
  const v1::ModelInfo* model = FindModel(worker, spec.model());
  if (model == nullptr || model->render_class().empty()) return "";
  std::string render_class = model->render_class();
  const auto add = [&](const v1::BesideInfo* info) {
    if (info != nullptr) absl::StrAppend(&render_class, "+", info->hash().substr(0, kHashShown));
  };
  for (const v1::Lora& lora : spec.loras()) add(Find(worker.loras(), lora.name()));
  for (const v1::Control& control : spec.controls()) add(Find(worker.controls(), control.name()));
  return render_class;
}

namespace {

// The model needs the column, and some entry has nothing in it.
absl::Status CheckColumn(const v1::JobSpec& spec, const char* name, const std::string& what) {
  for (const v1::EntryColumn& column : spec.contest().columns()) {
    if (column.name() != name || column.first_empty() == 0) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "entries[", column.first_empty() - 1, "]: column ", name, ": is empty, and model ", what));
  }
  return absl::OkStatus();
}

// That the model is given the photos and masks it needs.
absl::Status CheckNeeds(const v1::JobSpec& spec, const v1::ModelInfo& model) {
  const bool has_photos = plan::HasPhotos(spec), has_masks = plan::HasMasks(spec);
  const std::string what = absl::StrCat(spec.model(), " makes pictures of ", model.needs());
  const bool needs_mask = model.needs() == kAPhotoAndAMask;
  const auto refused = [&](const char* why) {
    return absl::InvalidArgumentError(absl::StrCat("model: ", what, " and a prompt; ", why));
  };
  if (!has_photos)
    return refused("this job has the prompt alone, so name another model, or a photo");
  if (needs_mask && !has_masks)
    return refused("this job has no mask, so name another model, or a mask");
  if (!needs_mask && model.needs() != kAPhoto)
    return refused("this version can't give it that, so name another model");
  if (!needs_mask && has_masks)
    return refused("it takes no mask, so name another model, or leave the mask out");
  TS_RETURN_IF_ERROR(CheckColumn(spec, plan::kPhotoColumn, what));
  return needs_mask ? CheckColumn(spec, plan::kMaskColumn, what) : absl::OkStatus();
}

// Likewise, and that something is left to make of a photo.
absl::Status CheckPhotos(const v1::JobSpec& spec, const v1::ModelInfo& model) {
  if (!model.needs().empty()) TS_RETURN_IF_ERROR(CheckNeeds(spec, model));
  const uint32_t steps = spec.render().steps();
  const double strength = spec.render().strength();
  const bool edits = model.needs() == kAPhoto;
  if (!plan::HasPhotos(spec) || edits || static_cast<int>(steps * strength) >= 1)
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("render.strength: ", strength, " leaves none of ",
                                                 steps, " steps; more strength, or more steps"));
}

absl::Status CheckDemands(const v1::JobSpec& spec, const v1::Hello& worker,
                          const v1::ModelInfo* model) {
  if (model == nullptr) return absl::OkStatus();
  const auto bad = [&](const std::string& path, const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", what));
  };
  if (!model->problem().empty())
    return bad("model", absl::StrCat(spec.model(), " can't be loaded: ", model->problem()));
  TS_RETURN_IF_ERROR(CheckPhotos(spec, *model));
  const std::pair<const char*, uint32_t> sides[] = {{"render.width", spec.render().width()},
                                                    {"render.height", spec.render().height()}};
  for (const auto& [path, side] : sides) {
    if (model->size_multiple() == 0 || side % model->size_multiple() == 0) continue;
    return bad(path, absl::StrCat(side, " is not a multiple of ", model->size_multiple(),
                                  ", as model ", spec.model(), " renders"));
  }
  if (model->names_no_sampler() && spec.render().sampler() == v1::SAMPLER_UNSPECIFIED) {
    return bad(
        "render.sampler",
        absl::StrCat(
            "is missing, and model ", spec.model(),
            "'s own is none of this farm's: ddim, euler, euler_a, dpmpp_2m, dpmpp_2m_karras, lcm"));
  }
  TS_RETURN_IF_ERROR(CheckFits(spec.loras(), "loras", worker.loras(), spec.model()));
  return CheckFits(spec.controls(), "controls", worker.controls(), spec.model());
}

}  // namespace

absl::Status CheckDemands(const v1::JobSpec& spec, const v1::Hello& worker) {
  return CheckDemands(spec, worker, FindModel(worker, spec.model()));
}

std::string WhyNot(const v1::JobSpec& spec, const std::string& render_class,
                   const v1::Hello& worker) {
  const v1::ModelInfo* model = FindModel(worker, spec.model());
  if (model == nullptr && worker.models_size() > 0)
    return absl::StrCat("has no model \"", spec.model(), "\"");
  if (model != nullptr && model->name() != "*") {
    if (const std::string* lora = Missing(spec.loras(), worker.loras()); lora != nullptr)
      return absl::StrCat("has no LoRA \"", *lora, "\"");
    if (const std::string* control = Missing(spec.controls(), worker.controls());
        control != nullptr)
      return absl::StrCat("has no ControlNet \"", *control, "\"");
  }
  if (const absl::Status demands = CheckDemands(spec, worker, model); !demands.ok())
    return absl::StrCat("can't render it: ", Message(demands));
  const v1::Requirements& needs = spec.requirements();
  if (!needs.device().empty() && needs.device() != worker.device_kind()) {
    return absl::StrCat("renders on ", worker.device_kind(), ", and the job wants ",
                        needs.device());
  }
  // What LoRAs change is held as merged and as packed, beside the rest of the model.
  uint64_t model_mb = model == nullptr ? 0 : model->memory_mb() * (spec.loras().empty() ? 1 : 2);
  for (const v1::Control& control : spec.controls()) {
    const v1::BesideInfo* info = Find(worker.controls(), control.name());
    if (info != nullptr) model_mb += info->memory_mb();
  }
  const uint64_t memory_mb = std::max(needs.memory_mb(), model_mb);
  if (worker.memory_mb() != 0 && memory_mb > worker.memory_mb())
    return absl::StrCat("has ", worker.memory_mb(), " MB, and the job needs ", memory_mb);
  if (!spec.strict()) return "";
  const std::string own = RenderClassOn(spec, worker);
  if (own.empty()) return "did not say its render class, and the job is strict";
  if (!render_class.empty() && own != render_class)
    return absl::StrCat("renders as ", own, ", and the job is bound to ", render_class);
  return "";
}

}  // namespace tiltshift::scheduler
