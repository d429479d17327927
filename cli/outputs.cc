#include "cli/outputs.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/hash.h"
#include "cli/format.h"
#include "cli/stored_outputs.h"
#include "picture/png.h"
#include "picture/sheet.h"

namespace tiltshift::cli {
namespace {

constexpr size_t kCellsASheet = 120;

std::string PathIn(const std::string& folder, const std::string& name) {
  return absl::StrCat(folder, "/", name);
}

// Collects one picture's bytes and puts it in place when it is whole and right.
class Receiver {
 public:
  Receiver(const std::string& folder, Fetched& fetched) : folder_(folder), fetched_(fetched) {}

  absl::Status Start(const v1::OutputInfo& info) {
    if (!info_.has_value() || info_->index() != info.index()) TS_RETURN_IF_ERROR(Finish());
    info_ = info;
    bytes_.clear();
    return CheckOutputName(info.name());
  }
  absl::Status Data(const std::string& piece) {
    bytes_ += piece;
    return absl::OkStatus();
  }
  absl::Status Finish() {
    if (!info_.has_value()) return absl::OkStatus();
    if (Sha256Hex(bytes_) != info_->sha256()) {
      return absl::DataLossError(
          absl::StrCat(info_->name(), " arrived damaged; run the same command again"));
    }
    TS_RETURN_IF_ERROR(
        WriteFileAtomic(PathIn(folder_, info_->name()), bytes_, IfPresent::kReplace).status());
    ++fetched_.fetched;
    fetched_.bytes += bytes_.size();
    info_.reset();
    return absl::OkStatus();
  }

 private:
  const std::string& folder_;
  Fetched& fetched_;
  std::optional<v1::OutputInfo> info_;
  std::string bytes_;
};

// Contiguous ranges of the indices to fetch, so that one call brings many.
std::vector<v1::VariantRange> Ranges(const std::vector<uint64_t>& indices) {
  std::vector<v1::VariantRange> ranges;
  for (const uint64_t index : indices) {
    if (ranges.empty() || ranges.back().first() + ranges.back().count() != index) {
      ranges.emplace_back().set_first(index);
    }
    ranges.back().set_count(ranges.back().count() + 1);
  }
  return ranges;
}

// Where `value` stands in `stem` by itself, not as a part of a longer word or number, and nothing
// of it is `told`.
size_t PlaceOf(const std::string& value, const std::string& stem, const std::vector<bool>& told) {
  const auto is_word = [&](size_t at) { return at < stem.size() && absl::ascii_isalnum(stem[at]); };
  for (size_t at = stem.find(value); at != std::string::npos; at = stem.find(value, at + 1)) {
    const bool whole = (at == 0 || !is_word(at - 1)) && !is_word(at + value.size());
    if (whole && !told[at]) return at;
  }
  return std::string::npos;
}

// The parameters that the file name tells, in its order: what the campaign's author chose to tell
// pictures apart by. The name itself where it tells none.
std::string Label(const v1::OutputInfo& info) {
  const std::string stem = info.name().substr(0, info.name().rfind('.'));
  std::vector<std::pair<std::string, std::string>> longest_first(info.parameters().begin(),
                                                                 info.parameters().end());
  std::sort(longest_first.begin(), longest_first.end(), [](const auto& a, const auto& b) {
    return std::pair(b.second.size(), a.first) < std::pair(a.second.size(), b.first);
  });
  std::vector<bool> told(stem.size());
  std::map<size_t, std::string> by_place;
  for (const auto& [name, value] : longest_first) {
    const size_t place = value.empty() ? std::string::npos : PlaceOf(value, stem, told);
    if (place == std::string::npos) continue;
    std::fill_n(told.begin() + static_cast<ptrdiff_t>(place), value.size(), true);
    by_place[place] = value.size() < 3 ? absl::StrCat(name, " ", value) : value;
  }
  if (by_place.empty()) return stem;
  return absl::StrJoin(by_place, " · ",
                       [](std::string* out, const auto& part) { out->append(part.second); });
}

// A name that no picture of the folder has, on any page.
std::string SheetStem(const std::vector<v1::OutputInfo>& infos) {
  std::string stem = "sheet";
  const auto taken = [&](const v1::OutputInfo& info) { return info.name().starts_with(stem); };
  while (std::any_of(infos.begin(), infos.end(), taken)) stem = "contact-" + stem;
  return stem;
}

}  // namespace

absl::StatusOr<Fetched> FetchOutputs(FarmClient& client, const std::string& job_id,
                                     const std::string& folder, const FetchOptions& options) {
  const absl::Status made = MakeFolders(folder);  // this machine's trouble, not a wrong argument
  if (!made.ok()) return absl::FailedPreconditionError(made.message());
  Fetched fetched;
  std::string manifest;
  const auto go_on = [&] {
    return options.interrupted != nullptr && options.interrupted()
               ? absl::CancelledError("interrupted; the same command goes on from here")
               : absl::OkStatus();
  };
  std::vector<uint64_t> missing;
  v1::ReadOutputsRequest request;
  request.set_job_id(job_id);
  request.set_info_only(true);
  TS_RETURN_IF_ERROR(client.ReadOutputs(
      request,
      [&](const v1::OutputInfo& info) -> absl::Status {
        TS_RETURN_IF_ERROR(go_on());
        TS_RETURN_IF_ERROR(CheckOutputName(info.name()));
        ++fetched.pictures;
        absl::StrAppend(&manifest, ToJson(info), "\n");
        if (IsThere(folder, info)) return absl::OkStatus();
        if (!options.local_blobs.empty() &&
            TakeBlob(options.local_blobs, job_id, info, folder).ok() && IsThere(folder, info)) {
          ++fetched.fetched;
        } else {
          missing.push_back(info.index());
        }
        return absl::OkStatus();
      },
      [](const std::string&) { return absl::OkStatus(); }));
  request.set_info_only(false);
  Receiver receiver(folder, fetched);
  for (const v1::VariantRange& range : Ranges(missing)) {
    *request.mutable_range() = range;
    TS_RETURN_IF_ERROR(client.ReadOutputs(
        request,
        [&](const v1::OutputInfo& info) -> absl::Status {
          TS_RETURN_IF_ERROR(go_on());
          return receiver.Start(info);
        },
        [&](const std::string& data) { return receiver.Data(data); }));
    TS_RETURN_IF_ERROR(receiver.Finish());
  }
  TS_RETURN_IF_ERROR(
      WriteFileAtomic(PathIn(folder, "manifest.jsonl"), manifest, IfPresent::kReplace).status());
  return fetched;
}

absl::StatusOr<std::vector<v1::OutputInfo>> ReadManifest(const std::string& folder) {
  const auto text = ReadFile(PathIn(folder, "manifest.jsonl"));
  if (!text.ok())
    return Annotate(text.status(),
                    "no rendered job in this folder (`tiltshift get` or `render` makes one)");
  std::vector<v1::OutputInfo> infos;
  int line_number = 0;
  for (const absl::string_view line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
    ++line_number;
    if (!google::protobuf::util::JsonStringToMessage(std::string(line), &infos.emplace_back())
             .ok()) {
      return absl::DataLossError(absl::StrCat(folder, "/manifest.jsonl:", line_number,
                                              ": damaged line; `tiltshift get` writes it anew"));
    }
    TS_RETURN_IF_ERROR(CheckOutputName(infos.back().name()));
  }
  return infos;
}

absl::StatusOr<std::vector<std::string>> WriteSheets(const std::string& folder,
                                                     const SheetLayout& layout) {
  TS_ASSIGN_OR_RETURN(const auto infos, ReadManifest(folder));
  if (infos.empty()) return absl::NotFoundError(absl::StrCat(folder, " holds no pictures yet"));
  std::vector<picture::SheetCell> cells;
  for (const auto& info : infos) cells.push_back({PathIn(folder, info.name()), Label(info)});
  const std::string stem = SheetStem(infos);
  std::vector<std::string> paths;
  for (size_t start = 0; start < cells.size(); start += kCellsASheet) {
    const size_t count = std::min(kCellsASheet, cells.size() - start);
    TS_ASSIGN_OR_RETURN(const auto image,
                        picture::DrawSheet({&cells[start], count},
                                           {layout.columns, layout.cell_pixels, layout.title}));
    TS_ASSIGN_OR_RETURN(const std::string png,
                        picture::EncodePng(image.width, image.height, image.rgb));
    const std::string page = start == 0 ? "" : absl::StrCat("-", start / kCellsASheet + 1);
    paths.push_back(PathIn(folder, absl::StrCat(stem, page, ".png")));
    TS_RETURN_IF_ERROR(WriteFileAtomic(paths.back(), png, IfPresent::kReplace).status());
  }
  return paths;
}

}  // namespace tiltshift::cli
