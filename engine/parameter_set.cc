#include "engine/parameter_set.h"

#include <algorithm>
#include <utility>

#include "engine/json_text.h"

namespace tiltshift::engine {

TensorView ParameterSet::View(const Part& part) {
  absl::StatusOr<TensorView> view = weights_.Get(part.name, part.shape);
  if (!view.ok()) {
    status_.Update(view.status());
    return {};
  }
  if (view->dtype != Dtype::kF16 && view->dtype != Dtype::kBf16 && view->dtype != Dtype::kF32) {
    status_.Update(absl::DataLossError(absl::StrCat(weights_.where(), ": tensor ", Quoted(part.name), " has dtype ",
                                                    std::string(DtypeName(view->dtype)),
                                                    "; weights must be F16, BF16 or F32")));
  }
  return *view;
}

const Parameter* ParameterSet::Get(const std::string& name, std::vector<int64_t> shape) {
  return Stack(name, {{name, std::move(shape)}});
}

const Parameter* ParameterSet::Stack(const std::string& name, const std::vector<Part>& parts,
                                     const std::vector<Part>& addends) {
  Parameter& parameter = parameters_.emplace_back();
  parameter.name = name;
  for (const Part& part : parts) {
    parameter.parts.push_back(View(part));
    if (parameter.shape.empty()) {
      parameter.shape = part.shape;
    } else {
      parameter.shape[0] += part.shape[0];
    }
  }
  for (const Part& part : addends) parameter.addends.push_back(View(part));
  const auto changed = [](const TensorView& view) { return view.changed; };
  if (!weights_.part().empty() && std::ranges::none_of(parameter.parts, changed) && std::ranges::none_of(parameter.addends, changed)) {
    // The place in the order of loading tells stacks of one name apart.
    parameter.key = absl::StrCat(weights_.part(), "/", parameters_.size(), "/", name);
  }
  return &parameter;
}

}  // namespace tiltshift::engine
