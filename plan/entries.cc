#include "plan/entries.h"

#include <algorithm>
#include <cctype>

#include "base/check.h"
#include "plan/axis.h"
#include "plan/limits.h"
#include "plan/photo_id.h"
#include "plan/text.h"

namespace tiltshift::plan {
namespace {

absl::Status Bad(const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("entries: ", what));
}

int PlaceOf(const v1::Entries& batch, const std::string& column) {
  const auto found = std::find(batch.columns().begin(), batch.columns().end(), column);
  return found == batch.columns().end() ? -1 : static_cast<int>(found - batch.columns().begin());
}

// It stands in file names and in commands.
std::string WhyNoId(const std::string& id) {
  if (id.empty()) return "has no id";
  if (id.size() > kLongestName)
    return absl::StrCat("column id: longer than ", kLongestName, " characters");
  const bool good = id[0] != '.' && std::all_of(id.begin(), id.end(), IsNameCharacter);
  return good ? ""
              : absl::StrCat("column id: \"", id,
                             "\" is not made of letters, digits, '_', '-' and '.'");
}

std::string WhyNoValue(const std::string& column, const std::string& value) {
  if (column == "id") return WhyNoId(value);
  const size_t longest = column == "author" ? kLongestAuthor : kLongestValue;
  const absl::Status text = CheckText("column " + column, value, longest);
  if (!text.ok()) return std::string(text.message());
  if (column == "seed" && !ParseSeed(value).ok())
    return absl::StrCat("column seed: \"", value, "\" is not a whole number from 0 up");
  if (column == "prompt" &&
      std::all_of(value.begin(), value.end(), [](unsigned char c) { return std::isspace(c); }))
    return "column prompt: is empty";
  return "";
}

}  // namespace

std::string EntryLedger::Add(const std::string& id, const std::string& author) {
  if (ids_.contains(id)) return absl::StrCat("column id: ", id, " is there already");
  if (per_author_ != 0) {
    if (author.empty()) return "has no author, and authors have a bound here";
    uint32_t& count = of_author_[author];
    if (count == per_author_)
      return absl::StrCat("column author: ", author, " has ", count, " entries already");
    ++count;
  }
  ids_.insert(id);
  return "";
}

void EntryLedger::AddAll(const v1::Entries& batch) {
  const int id = PlaceOf(batch, "id"), author = PlaceOf(batch, "author");
  TS_CHECK(id >= 0);
  for (const v1::Entry& entry : batch.entries())
    Add(entry.values(id), author < 0 ? std::string() : entry.values(author));
}

absl::Status CheckColumns(const v1::JobSpec& spec, const v1::Entries& batch) {
  std::set<std::string> names;
  if (static_cast<size_t>(batch.columns_size()) > kMostColumns)
    return Bad(absl::StrCat("more than ", kMostColumns, " columns"));
  for (const std::string& name : batch.columns()) {
    if (const absl::Status good = CheckFieldName("entries", name); !good.ok()) return good;
    if (!names.insert(name).second) return Bad(absl::StrCat("there are two columns called ", name));
  }
  if (!names.contains("id")) return Bad("there is no column called id");
  if (spec.contest().per_author() != 0 && !names.contains("author"))
    return Bad("there is no column called author, and per_author needs one");
  for (const v1::Axis& axis : spec.axes()) {
    if (names.contains(axis.name()))
      return Bad(absl::StrCat(axis.name(), " is a column and an axis: name one of them otherwise"));
  }
  if (spec.contest().columns().empty()) return absl::OkStatus();
  for (const v1::EntryColumn& column : spec.contest().columns()) {
    if (names.erase(column.name()) == 0)
      return Bad(absl::StrCat("there is no column called ", column.name(),
                              ", which the contest's earlier entries have"));
  }
  if (!names.empty())
    return Bad(
        absl::StrCat("the contest's earlier entries have no column called ", *names.begin()));
  return absl::OkStatus();
}

std::vector<EntryProblem> CheckEntries(const v1::JobSpec& spec, const v1::Entries& batch,
                                       EntryLedger& ledger) {
  std::vector<EntryProblem> problems;
  const int id = PlaceOf(batch, "id"), author = PlaceOf(batch, "author");
  const int photo = PlaceOf(batch, kPhotoColumn), mask = PlaceOf(batch, kMaskColumn);
  const auto why_not = [&](const v1::Entry& entry) -> std::string {
    if (entry.values_size() != batch.columns_size())
      return absl::StrCat("has ", entry.values_size(), " values; there are ", batch.columns_size(),
                          " columns");
    for (int i = 0; i < batch.columns_size(); ++i) {
      std::string why = WhyNoValue(batch.columns(i), entry.values(i));
      if (!why.empty()) return why;
    }
    if (mask >= 0 && !entry.values(mask).empty() && (photo < 0 || entry.values(photo).empty()))
      return "column mask: there is no photo that it is a mask of";
    return ledger.Add(entry.values(id), author < 0 ? std::string() : entry.values(author));
  };
  for (int i = 0; i < batch.entries_size(); ++i) {
    std::string why = why_not(batch.entries(i));
    if (!why.empty()) problems.push_back({static_cast<size_t>(i), std::move(why)});
  }
  return problems;
}

void AddBatch(const v1::Entries& batch, const std::string& sha256, v1::JobSpec& spec) {
  v1::Contest& contest = *spec.mutable_contest();
  const uint64_t before = EntryCount(spec);
  for (int i = 0; i < batch.columns_size(); ++i) {
    auto& columns = *contest.mutable_columns();
    auto column = std::find_if(columns.begin(), columns.end(), [&](const v1::EntryColumn& known) {
      return known.name() == batch.columns(i);
    });
    if (column == columns.end()) {
      contest.add_columns()->set_name(batch.columns(i));
      column = columns.end() - 1;
    }
    size_t longest = column->longest();
    for (const v1::Entry& entry : batch.entries())
      longest = std::max(longest, entry.values(i).size());
    column->set_longest(static_cast<uint32_t>(longest));
    for (int e = 0; e < batch.entries_size() && column->first_empty() == 0; ++e) {
      if (batch.entries(e).values(i).empty())
        column->set_first_empty(before + static_cast<uint64_t>(e) + 1);
    }
  }
  v1::EntryBatch& added = *contest.add_batches();
  added.set_sha256(sha256);
  added.set_entries(static_cast<uint32_t>(batch.entries_size()));
}

uint64_t EntryCount(const v1::JobSpec& spec) {
  uint64_t count = 0;
  for (const v1::EntryBatch& batch : spec.contest().batches()) count += batch.entries();
  return count;
}

EntryRow RowOf(const v1::Entries& batch, size_t entry) {
  EntryRow row;
  const v1::Entry& values = batch.entries(static_cast<int>(entry));
  for (int i = 0; i < batch.columns_size(); ++i) row[batch.columns(i)] = values.values(i);
  return row;
}

EntryRow RowOf(const std::vector<v1::Entries>& batches, uint64_t entry) {
  for (const v1::Entries& batch : batches) {
    const uint64_t entries = static_cast<uint64_t>(batch.entries_size());
    if (entry < entries) return RowOf(batch, entry);
    entry -= entries;
  }
  TS_CHECK(false);
}

}  // namespace tiltshift::plan
