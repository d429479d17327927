// From the file that people keep to batches that the farm takes: read, checked row by row, and cut.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "plan/entries.h"

namespace tiltshift::plan {

// What an entry, or a campaign, is made from: files as they were written, maybe ids; empty: none.
struct PhotoNames {
  std::string photo, mask;
};
// Why each can't be taken, "photo: cat.jpg: cannot open"; empty: it can. Files lie below `folder`.
using PhotoCheck = std::function<std::vector<std::string>(const std::string& folder,
                                                          const std::vector<PhotoNames>& names)>;

struct EntryTableOptions {
  std::string file;       // CSV or JSONL
  bool skip_bad = false;  // leave rows out that can't be taken; else they are an error, all of them
  PhotoCheck check_photo;  // of the rows that can be taken else; null: photos are not looked at
};

struct EntryTable {
  std::vector<v1::Entries> batches;
  std::vector<std::string> skipped;  // "entries.csv:7: column id: ..."
};

// `spec` is the contest's: of one that runs already, as the farm has it.
// InvalidArgument: no table, or rows that can't be taken, the first ten of them named.
absl::StatusOr<EntryTable> ReadEntryTable(const v1::JobSpec& spec, const EntryTableOptions& options,
                                          const std::string& folder);

// A table's rows in as many batches as messages need.
std::vector<v1::Entries> CutIntoBatches(v1::Entries table);

}  // namespace tiltshift::plan
