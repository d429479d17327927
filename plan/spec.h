// Strict parsing of a spec file. YAML and JSON (which is YAML) become a JobSpec, and a contest's
// table of entries its batches; an unknown field, a wrong type or a repeated key is an error with
// its path and line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "plan/entry_table.h"
#include "proto/entries.pb.h"
#include "proto/job.pb.h"

namespace tiltshift::plan {

struct SpecFile {
  v1::JobSpec spec;                  // of a contest: as if all its batches had been taken
  std::vector<v1::Entries> batches;  // of a contest, none larger than a message may be
  std::vector<std::string> skipped;  // "entries.csv:7: column id: ...", where bad rows are skipped
};

// `text` is the spec; `{file: PATH}` axes are read relative to `folder`, one value a line, and
// become lists, and a contest's `entries: PATH` likewise. `name` is what errors call the text
// ("campaign.yaml"). Does not check what Plan::Create checks.
// `check_photo` is asked about the photos that spec and entries name; null: nobody is.
absl::StatusOr<SpecFile> ParseSpec(std::string_view text, const std::string& name,
                                   const std::string& folder,
                                   const PhotoCheck& check_photo = nullptr);

// Reads and parses the file at `path`.
absl::StatusOr<SpecFile> LoadSpec(const std::string& path, const PhotoCheck& check_photo = nullptr);

}  // namespace tiltshift::plan
