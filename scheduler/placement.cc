#include "scheduler/placement.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace tiltshift::scheduler {

const v1::ModelInfo* FindModel(const v1::Hello& worker, const std::string& model) {
  for (const v1::ModelInfo& info : worker.models()) {
    if (info.name() == model || info.name() == "*") return &info;
  }
  return nullptr;
}

std::string WhyNot(const v1::JobSpec& spec, const std::string& render_class,
                   const v1::Hello& worker) {
  const v1::ModelInfo* model = FindModel(worker, spec.model());
  if (model == nullptr && worker.models_size() > 0)
    return absl::StrCat("has no model \"", spec.model(), "\"");
  const v1::Requirements& needs = spec.requirements();
  if (!needs.device().empty() && needs.device() != worker.device_kind()) {
    return absl::StrCat("renders on ", worker.device_kind(), ", and the job wants ",
                        needs.device());
  }
  const uint64_t memory_mb = std::max(needs.memory_mb(), model == nullptr ? 0 : model->memory_mb());
  if (worker.memory_mb() != 0 && memory_mb > worker.memory_mb())
    return absl::StrCat("has ", worker.memory_mb(), " MB, and the job needs ", memory_mb);
  if (!spec.strict()) return "";
  if (model == nullptr || model->render_class().empty())
    return "did not say its render class, and the job is strict";
  if (!render_class.empty() && model->render_class() != render_class) {
    return absl::StrCat("renders as ", model->render_class(), ", and the job is bound to ",
                        render_class);
  }
  return "";
}

}  // namespace tiltshift::scheduler
