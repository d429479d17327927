// Strict parsing of a spec file. YAML and JSON (which is YAML) become a JobSpec; an unknown field,
// a wrong type or a repeated key is an error with its path and line.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "proto/job.pb.h"

namespace tiltshift::plan {

// `text` is the spec; `{file: PATH}` axes are read relative to `folder`, one value a line, and
// become lists. `name` is what errors call the text ("campaign.yaml"). Does not check what
// Plan::Create checks.
absl::StatusOr<v1::JobSpec> ParseSpec(std::string_view text, const std::string& name,
                                      const std::string& folder);

// Reads and parses the file at `path`.
absl::StatusOr<v1::JobSpec> LoadSpec(const std::string& path);

}  // namespace tiltshift::plan
