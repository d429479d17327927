#include "cli/stored_outputs.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/hash.h"

namespace tiltshift::cli {
namespace {

namespace fs = std::filesystem;
using SteadyClock = std::chrono::steady_clock;

constexpr auto kLeastWait = std::chrono::milliseconds(100);
constexpr int kShare = 20;  // at most one part in so many of the time is spent here

std::string BlobOf(const std::string& blobs, const std::string& job_id, const std::string& name) {
  return absl::StrCat(blobs, "/jobs/", job_id, "/outputs/", name);
}

}  // namespace

bool IsThere(const std::string& folder, const v1::OutputInfo& info) {
  const auto bytes = ReadFile(absl::StrCat(folder, "/", info.name()));
  return bytes.ok() && bytes->size() == info.bytes() && Sha256Hex(*bytes) == info.sha256();
}

absl::Status CheckOutputName(const std::string& name) {
  if (name.empty() || name[0] == '.' || name.find('/') != std::string::npos) {
    return absl::DataLossError(
        absl::StrCat("the farm named a picture \"", name, "\", which is no file name"));
  }
  return absl::OkStatus();
}

absl::Status TakeBlob(const std::string& blobs, const std::string& job_id,
                      const v1::OutputInfo& info, const std::string& folder) {
  return LinkOrCopy(BlobOf(blobs, job_id, info.name()), absl::StrCat(folder, "/", info.name()));
}

StoredOutputs::StoredOutputs(const std::string& blobs, const std::string& job_id,
                             const std::string& folder)
    : blobs_(blobs), job_id_(job_id), folder_(folder) {}

void StoredOutputs::Bring() {
  const auto start = SteadyClock::now();
  if (start < next_) return;
  std::error_code error;  // no part yet
  const std::string manifest = absl::StrCat(blobs_, "/jobs/", job_id_, "/manifest");
  for (fs::directory_iterator it(manifest, error), end; !error && it != end; it.increment(error)) {
    const std::string part = it->path().filename().string();
    if (it->path().extension() == ".jsonl" && brought_.count(part) == 0)
      BringPart(it->path().string());
  }
  const auto now = SteadyClock::now();
  next_ = now + std::max<SteadyClock::duration>(kLeastWait, kShare * (now - start));
}

// The job's end checks every picture and says what is wrong with one; here the next call is enough.
void StoredOutputs::BringPart(const std::string& path) {
  const auto text = ReadFile(path);
  if (!text.ok()) return;
  for (const absl::string_view line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
    v1::OutputInfo info;
    if (!google::protobuf::util::JsonStringToMessage(std::string(line), &info).ok() ||
        !CheckOutputName(info.name()).ok())
      return;
    std::error_code absent;
    const std::string target = absl::StrCat(folder_, "/", info.name());
    const bool linked = fs::equivalent(target, BlobOf(blobs_, job_id_, info.name()), absent);
    if (!linked && !IsThere(folder_, info) && !TakeBlob(blobs_, job_id_, info, folder_).ok())
      return;
  }
  brought_.insert(fs::path(path).filename().string());
}

}  // namespace tiltshift::cli
