// Output names must differ for any two variants of a job, and that must be sure without expanding
// the job.
//
// The rule: a name template is unique by itself if the axes it mentions tell the index (every axis
// of a product, one of an association), and every mentioned axis is followed by a literal (or the
// end) whose first character stands in none of that axis' values: then the name can be taken apart
// again from left to right. "{subject}-{color}-{seed}" is unique as long as no subject or color
// holds a '-'. Where the rule does not hold, "-{index}" is put behind the name: the digits after
// the last
// '-' are then the index.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "plan/axis.h"
#include "plan/combination.h"
#include "plan/template.h"

namespace tiltshift::plan {

// The template to use: `name`, or `name` with "-{index}". InvalidArgument where a name could be
// empty, hidden, too long or hold a character that file names must not.
absl::StatusOr<std::string> UniqueNameTemplate(const std::string& name,
                                               const std::vector<AxisValues>& axes,
                                               const Combination& combination);

// The most bytes the template can expand to. `columns`: the longest value of what it may name
// beside axes, index and seed.
size_t LongestExpansion(const Template& text, const std::vector<AxisValues>& axes,
                        const std::map<std::string, size_t>& columns = {});

// The names a template may hold: the axes', index and seed.
std::vector<std::string> KnownFields(const std::vector<AxisValues>& axes);

}  // namespace tiltshift::plan
