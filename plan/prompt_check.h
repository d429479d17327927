// Whether the weights in a prompt stay within their bounds, before anything is rendered.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "plan/axis.h"
#include "plan/template.h"

namespace tiltshift::plan {

// InvalidArgument for a weight that is out of bounds as the template stands, or with a value of one
// axis, named, while the others have their first. The plan is not expanded: looked at are the
// values that hold brackets or stand before one, of a range the smallest and the largest; and no
// more than about 32 MB of text. What several axes do only together, or a contest's entry, is found
// when it is rendered.
absl::Status CheckPromptWeights(const Template& prompt, const std::vector<AxisValues>& axes,
                                const std::string& path);

}  // namespace tiltshift::plan
