// A contest's entries: a table of one row an entry, whose columns become parameters. `id` names the
// entry, `author` whose it is, `seed` its seed; `prompt`, the wish, and whatever else the table has
// are for templates.
//
// The table is taken in batches, the first with the submission. The spec keeps how many entries
// each has and how long a column's values are at most, so that a plan can be made without the rows.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "proto/entries.pb.h"
#include "proto/job.pb.h"

namespace tiltshift::plan {

using EntryRow = std::map<std::string, std::string>;  // column -> value

// What rows must be checked against beside themselves: those of earlier batches.
class EntryLedger {
 public:
  explicit EntryLedger(uint32_t per_author) : per_author_(per_author) {}

  // Takes note of an entry; why it can't be had, or an empty text.
  std::string Add(const std::string& id, const std::string& author);
  // All of a batch that was taken before.
  void AddAll(const v1::Entries& batch);

 private:
  uint32_t per_author_;
  std::set<std::string> ids_;
  std::map<std::string, uint32_t> of_author_;
};

struct EntryProblem {
  size_t entry = 0;  // its place in the batch
  std::string what;  // "column photo: is not UTF-8"
};

// InvalidArgument where no row could be taken: columns that are missing, there twice, not names, an
// axis' or another batch's. The rows are looked at by CheckEntries.
absl::Status CheckColumns(const v1::JobSpec& spec, const v1::Entries& batch);

// After CheckColumns: each row that can't be taken, with the first reason. The others are in the
// ledger then.
std::vector<EntryProblem> CheckEntries(const v1::JobSpec& spec, const v1::Entries& batch,
                                       EntryLedger& ledger);

// Takes note of a batch that was checked: it is the contest's last one. `sha256` is that of its
// blob.
void AddBatch(const v1::Entries& batch, const std::string& sha256, v1::JobSpec& spec);

// Of all batches.
uint64_t EntryCount(const v1::JobSpec& spec);

EntryRow RowOf(const v1::Entries& batch, size_t entry);
// Of entry `entry`, counted over all batches; checked.
EntryRow RowOf(const std::vector<v1::Entries>& batches, uint64_t entry);

}  // namespace tiltshift::plan
