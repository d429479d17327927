// A contest's results for its organisers: one row an entry, with its state, its pictures and, where
// it failed, why.
#pragma once

#include <string>

#include "base/status.h"
#include "cli/client.h"

namespace tiltshift::cli {

// Writes CSV, or JSON: an array of objects where `path` ends in .json, an object a line where it
// ends in .jsonl. Returns the number of entries.
absl::StatusOr<size_t> WriteResults(FarmClient& client, const std::string& job_id,
                                    const std::string& path);

}  // namespace tiltshift::cli
