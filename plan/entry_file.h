// A contest's table as people keep it: CSV with a head line (RFC 4180; commas, semicolons or tabs,
// as the head line has them), or JSONL, an object of texts and numbers a line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "proto/entries.pb.h"

namespace tiltshift::plan {

struct EntryFile {
  struct BadRow {
    int line = 0;
    std::string what;
  };
  v1::Entries table;
  std::vector<int> lines;   // of each entry, from 1
  std::vector<BadRow> bad;  // rows that are none of this table
};

// CSV, unless the text begins with '{'. `name` is what errors call it. InvalidArgument: no rows, or
// what can't be taken apart into rows at all.
absl::StatusOr<EntryFile> ParseEntryFile(std::string_view text, const std::string& name);

// A line of CSV with its end. A value that a spreadsheet would take for a formula gets a ' before
// it: what contestants wrote is shown, not run.
std::string CsvLine(const std::vector<std::string>& values);

}  // namespace tiltshift::plan
