#include "scheduler/placement.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace tiltshift::scheduler {
namespace {

constexpr size_t kHashShown = 12;

const v1::LoraInfo* FindLora(const v1::Hello& worker, const std::string& name) {
  for (const v1::LoraInfo& info : worker.loras()) {
    if (info.name() == name) return &info;
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
  for (const v1::Lora& lora : spec.loras()) {
    const v1::LoraInfo* info = FindLora(worker, lora.name());
    if (info != nullptr) absl::StrAppend(&render_class, "+", info->hash().substr(0, kHashShown));
  }
  return render_class;
}

namespace {

absl::Status CheckDemands(const v1::JobSpec& spec, const v1::Hello& worker, const v1::ModelInfo* model) {
  if (model == nullptr) return absl::OkStatus();
  const auto bad = [&](const std::string& path, const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", what));
  };
  if (!model->needs().empty()) {
    return bad("model", absl::StrCat(spec.model(), " makes pictures of ", model->needs(),
                                     " and a prompt; a campaign has the prompt alone, so name another model"));
  }
  const std::pair<const char*, uint32_t> sides[] = {{"render.width", spec.render().width()},
                                                    {"render.height", spec.render().height()}};
  for (const auto& [path, side] : sides) {
    if (model->size_multiple() == 0 || side % model->size_multiple() == 0) continue;
    return bad(path, absl::StrCat(side, " is not a multiple of ", model->size_multiple(), ", as model ",
                                  spec.model(), " renders"));
  }
  if (model->names_no_sampler() && spec.render().sampler() == v1::SAMPLER_UNSPECIFIED) {
    return bad("render.sampler",
               absl::StrCat("is missing, and model ", spec.model(),
                            "'s own is none of this farm's: ddim, euler, euler_a, dpmpp_2m, dpmpp_2m_karras, lcm"));
  }
  for (int i = 0; i < spec.loras_size(); ++i) {
    const std::string& name = spec.loras(i).name();
    const v1::LoraInfo* lora = FindLora(worker, name);
    if (lora != nullptr && !lora->problem().empty())
      return bad(absl::StrCat("loras[", i, "].name"), absl::StrCat(name, " can't be read: ", lora->problem()));
    if (lora == nullptr || std::ranges::find(lora->misfits(), spec.model()) == lora->misfits().end()) continue;
    return bad(absl::StrCat("loras[", i, "].name"),
               absl::StrCat(name, " does not fit model ", spec.model(),
                            ": it was made for another base model (`tiltshift models` shows what fits what)"));
  }
  return absl::OkStatus();
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
  for (const v1::Lora& lora : spec.loras()) {
    if (model != nullptr && model->name() != "*" && FindLora(worker, lora.name()) == nullptr)
      return absl::StrCat("has no LoRA \"", lora.name(), "\"");
  }
  if (const absl::Status demands = CheckDemands(spec, worker, model); !demands.ok())
    return absl::StrCat("can't render it: ", Message(demands));
  const v1::Requirements& needs = spec.requirements();
  if (!needs.device().empty() && needs.device() != worker.device_kind()) {
    return absl::StrCat("renders on ", worker.device_kind(), ", and the job wants ",
                        needs.device());
  }
  const uint64_t memory_mb = std::max(needs.memory_mb(), model == nullptr ? 0 : model->memory_mb());
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
