#include "cli/contest_results.h"

#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "cli/format.h"
#include "plan/entry_file.h"

namespace tiltshift::cli {
namespace {

using Pictures = std::map<std::string, std::vector<v1::OutputInfo>>;  // by entry

absl::StatusOr<Pictures> FindPictures(FarmClient& client, const std::string& job_id) {
  v1::ReadOutputsRequest request;
  request.set_job_id(job_id);
  request.set_info_only(true);
  Pictures pictures;
  const auto note = [&](const v1::OutputInfo& info) {
    const auto id = info.parameters().find("id");
    if (id != info.parameters().end()) pictures[id->second].push_back(info);
    return absl::OkStatus();
  };
  TS_RETURN_IF_ERROR(
      client.ReadOutputs(request, note, [](const std::string&) { return absl::OkStatus(); }));
  return pictures;
}

bool IsOwn(const std::string& column) { return column == "id" || column == "author"; }

std::string AsCsv(const std::vector<v1::EntryStatus>& entries, const Pictures& pictures) {
  std::vector<std::string> head = {"id", "author", "state", "pictures", "reason"};
  for (const auto& [column, value] :
       std::map(entries[0].columns().begin(), entries[0].columns().end())) {
    if (!IsOwn(column)) head.push_back(column);
  }
  std::string text = plan::CsvLine(head);
  for (const v1::EntryStatus& entry : entries) {
    std::vector<std::string> names;
    if (const auto found = pictures.find(entry.id()); found != pictures.end()) {
      for (const v1::OutputInfo& info : found->second) names.push_back(info.name());
    }
    std::vector<std::string> row = {entry.id(), entry.author(), StateName(entry.state()),
                                    absl::StrJoin(names, " "), entry.reason()};
    for (size_t i = 5; i < head.size(); ++i) row.push_back(entry.columns().at(head[i]));
    text += plan::CsvLine(row);
  }
  return text;
}

// One array, or a line an entry.
std::string AsJson(const std::vector<v1::EntryStatus>& entries, const Pictures& pictures,
                   bool lines) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const v1::EntryStatus& entry : entries) {
    nlohmann::ordered_json& row = all.emplace_back();
    row = {{"id", entry.id()}, {"author", entry.author()}, {"state", StateName(entry.state())}};
    row["pictures"] = nlohmann::ordered_json::array();
    if (const auto found = pictures.find(entry.id()); found != pictures.end()) {
      for (const v1::OutputInfo& info : found->second)
        row["pictures"].push_back(
            {{"name", info.name()}, {"seed", info.seed()}, {"sha256", info.sha256()}});
    }
    if (!entry.reason().empty()) row["reason"] = entry.reason();
    row["columns"] = std::map(entry.columns().begin(), entry.columns().end());
  }
  if (!lines) return all.dump(1) + "\n";
  std::string text;
  for (const nlohmann::ordered_json& row : all) text += row.dump() + "\n";
  return text;
}

}  // namespace

absl::StatusOr<size_t> WriteResults(FarmClient& client, const std::string& job_id,
                                    const std::string& path) {
  std::vector<v1::EntryStatus> entries;
  TS_RETURN_IF_ERROR(
      client.ListEntries(job_id, [&](const v1::EntryStatus& entry) { entries.push_back(entry); }));
  if (entries.empty()) return absl::NotFoundError(absl::StrCat("job ", job_id, " has no entries"));
  TS_ASSIGN_OR_RETURN(const Pictures pictures, FindPictures(client, job_id));
  const bool lines = absl::EndsWith(path, ".jsonl");
  const std::string text = lines || absl::EndsWith(path, ".json") ? AsJson(entries, pictures, lines)
                                                                  : AsCsv(entries, pictures);
  TS_RETURN_IF_ERROR(WriteFileAtomic(path, text, IfPresent::kReplace).status());
  return entries.size();
}

}  // namespace tiltshift::cli
