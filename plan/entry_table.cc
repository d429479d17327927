#include "plan/entry_table.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/file.h"
#include "plan/entry_file.h"
#include "plan/limits.h"
#include "plan/photo_id.h"

namespace tiltshift::plan {
namespace {

constexpr size_t kMostNamed = 10;  // bad rows in one error

absl::Status AllOf(const std::vector<std::string>& bad) {
  const std::vector<std::string> named(bad.begin(), bad.begin() + std::min(bad.size(), kMostNamed));
  const std::string more =
      bad.size() > named.size() ? absl::StrCat("\nand ", bad.size() - named.size(), " more") : "";
  return absl::InvalidArgumentError(
      absl::StrCat(absl::StrJoin(named, "\n"), more,
                   "\nnothing was taken; mend the rows, or leave them out: on_invalid: skip"));
}

std::vector<EntryProblem> BadPhotos(const v1::Entries& table, const std::set<size_t>& bad,
                                    const std::string& folder, const PhotoCheck& check) {
  const auto& columns = table.columns();
  const auto place = [&](const char* column) {
    return static_cast<int>(std::find(columns.begin(), columns.end(), column) - columns.begin());
  };
  const int photo = place(kPhotoColumn), mask = place(kMaskColumn);
  const auto value = [&](const v1::Entry& entry, int column) {
    return column < columns.size() ? entry.values(column) : std::string();
  };
  std::vector<size_t> entries;
  std::vector<PhotoNames> names;
  for (size_t i = 0; i < static_cast<size_t>(table.entries_size()); ++i) {
    if (bad.contains(i)) continue;
    const v1::Entry& entry = table.entries(static_cast<int>(i));
    const PhotoNames its{value(entry, photo), value(entry, mask)};
    if (its.photo.empty() && its.mask.empty()) continue;
    entries.push_back(i);
    names.push_back(its);
  }
  std::vector<EntryProblem> problems;
  if (names.empty()) return problems;
  const std::vector<std::string> why = check(folder, names);
  for (size_t i = 0; i < entries.size(); ++i)
    if (!why[i].empty()) problems.push_back({entries[i], "column " + why[i]});
  return problems;
}

}  // namespace

std::vector<v1::Entries> CutIntoBatches(v1::Entries table) {
  std::vector<v1::Entries> batches;
  size_t bytes = kLargestBatchBytes;
  for (v1::Entry& entry : *table.mutable_entries()) {
    const size_t more = entry.ByteSizeLong() + 8;  // its tag and length
    if (bytes + more > kLargestBatchBytes) {
      *batches.emplace_back().mutable_columns() = table.columns();
      bytes = batches.back().ByteSizeLong();
    }
    bytes += more;
    *batches.back().add_entries() = std::move(entry);
  }
  return batches;
}

absl::StatusOr<EntryTable> ReadEntryTable(const v1::JobSpec& spec, const EntryTableOptions& options,
                                          const std::string& folder) {
  const std::string path = (std::filesystem::path(folder) / options.file).string();
  TS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kLargestEntriesFile));
  TS_ASSIGN_OR_RETURN(EntryFile file, ParseEntryFile(text, options.file));
  TS_RETURN_IF_ERROR(CheckColumns(spec, file.table));

  EntryTable table;
  for (const auto& [line, what] : file.bad)
    table.skipped.push_back(absl::StrCat(options.file, ":", line, ": ", what));
  EntryLedger ledger(spec.contest().per_author());
  std::set<size_t> bad;
  for (const auto& [entry, what] : CheckEntries(spec, file.table, ledger)) {
    bad.insert(entry);
    table.skipped.push_back(absl::StrCat(options.file, ":", file.lines[entry], ": ", what));
  }
  if (options.check_photo != nullptr) {
    const std::string beside = std::filesystem::path(path).parent_path().string();
    for (const auto& [entry, what] : BadPhotos(file.table, bad, beside, options.check_photo)) {
      bad.insert(entry);
      table.skipped.push_back(absl::StrCat(options.file, ":", file.lines[entry], ": ", what));
    }
  }
  if (!table.skipped.empty() && !options.skip_bad) return AllOf(table.skipped);

  v1::Entries good;
  *good.mutable_columns() = file.table.columns();
  for (int i = 0; i < file.table.entries_size(); ++i) {
    if (!bad.contains(static_cast<size_t>(i)))
      *good.add_entries() = std::move(*file.table.mutable_entries(i));
  }
  if (good.entries().empty())
    return absl::InvalidArgumentError(absl::StrCat(
        options.file, ": none of its rows can be taken; the first: ", table.skipped[0]));
  table.batches = CutIntoBatches(std::move(good));
  return table;
}

}  // namespace tiltshift::plan
