#include "plan/model_variant.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/hash.h"

namespace tiltshift::plan {

std::string ModelVariant(const v1::JobSpec& spec) {
  if (spec.loras().empty() && spec.controls().empty()) return spec.model();
  std::vector<std::string> set;
  for (const v1::Lora& lora : spec.loras())
    set.push_back(absl::StrFormat("%s:%.17g", lora.name(), lora.weight()));
  std::sort(set.begin(), set.end());
  for (const v1::Control& control : spec.controls())
    set.push_back(absl::StrFormat("control %s:%.17g", control.name(), control.scale()));
  return absl::StrCat(spec.model(), "+", Sha256Hex(absl::StrJoin(set, "\n")).substr(0, 12));
}

}  // namespace tiltshift::plan
