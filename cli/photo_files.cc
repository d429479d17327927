#include "cli/photo_files.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "base/file.h"
#include "base/hash.h"
#include "cli/commands.h"
#include "picture/photo.h"
#include "plan/photo_id.h"
#include "seal/secret.h"

namespace tiltshift::cli {
namespace {

// On one line of a terminal.
void ShowProgress(const char* what, size_t done, size_t of) {
  if (isatty(STDERR_FILENO) == 0) return;
  std::fprintf(stderr, "\rphotos: %zu of %zu %s%s", done, of, what, done == of ? "\n" : "");
}

int PhotoColumn(const v1::Entries& batch) {
  for (int i = 0; i < batch.columns_size(); ++i)
    if (batch.columns(i) == plan::kPhotoColumn) return i;
  return -1;
}

}  // namespace

plan::PhotoCheck PhotoFiles::Checker() {
  return [this](const std::string& folder, const std::string& file) -> std::string {
    if (plan::IsPhotoId(file)) return "";
    if (Interrupted()) return "interrupted";
    const auto bad = bad_.find(file);
    if (bad != bad_.end()) return bad->second;
    if (files_.contains(file)) return "";
    return bad_[file] = Look(folder, file);
  };
}

absl::StatusOr<std::string> PhotoFiles::Read(const Known& known) {
  return ReadFileBelow(known.folder, known.path, picture::kLargestPhotoBytes);
}

// Why it can't be taken; empty: it is one of files_ now.
std::string PhotoFiles::Look(const std::string& folder, const std::string& file) {
  Known known{.path = file, .folder = folder};
  auto bytes = Read(known);
  if (absl::IsResourceExhausted(bytes.status()))
    return Message(picture::CheckPhotoBytes(picture::kLargestPhotoBytes + 1));
  if (!bytes.ok()) return Message(bytes.status());
  auto photo = process_.Decode(*bytes);
  known.sha256 = Sha256Hex(*bytes);
  seal::Wipe(std::span(*bytes));
  if (!photo.ok()) return Message(photo.status());
  seal::Wipe(std::span(photo->rgb));
  files_[file] = known;
  bad_.erase(file);
  return "";
}

std::string PhotoFiles::Digest() const {
  Sha256 all;
  for (const auto& [file, known] : files_) all.Update(known.sha256);
  return all.Hex();
}

absl::StatusOr<std::string> PhotoFiles::UploadOne(FarmClient& client, const std::string& tenant,
                                                  const std::string& request_id,
                                                  const std::string& file) {
  if (file.empty() || plan::IsPhotoId(file)) return file;
  Known& known = files_.at(file);
  if (!known.id.empty()) return known.id;
  if (Interrupted()) return absl::CancelledError("interrupted");
  auto bytes = Read(known);
  if (!bytes.ok()) return bytes.status();
  const std::string request =
      Sha256Hex(absl::StrCat(request_id, "\n", file, "\n", Sha256Hex(*bytes))).substr(0, 40);
  const auto uploaded = client.UploadPhoto(tenant, request, *bytes);
  seal::Wipe(std::span(*bytes));
  if (!uploaded.ok()) return Annotate(uploaded.status(), "photo " + file);
  for (const std::string& warning : uploaded->warnings())
    std::fprintf(stderr, "photo %s: %s\n", file.c_str(), warning.c_str());
  ShowProgress("uploaded", ++uploaded_, files_.size());
  return known.id = uploaded->photo_id();
}

absl::Status PhotoFiles::Upload(FarmClient& client, const std::string& request_id,
                                plan::SpecFile& file) {
  TS_ASSIGN_OR_RETURN(const std::string id,
                      UploadOne(client, file.spec.tenant(), request_id, file.spec.photo()));
  file.spec.set_photo(id);
  return Upload(client, file.spec.tenant(), request_id, file.batches);
}

absl::Status PhotoFiles::Upload(FarmClient& client, const std::string& tenant,
                                const std::string& request_id, std::vector<v1::Entries>& batches) {
  for (v1::Entries& batch : batches) {
    const int column = PhotoColumn(batch);
    if (column < 0) continue;
    for (v1::Entry& entry : *batch.mutable_entries()) {
      TS_ASSIGN_OR_RETURN(const std::string id,
                          UploadOne(client, tenant, request_id, entry.values(column)));
      entry.set_values(column, id);
    }
  }
  return absl::OkStatus();
}

}  // namespace tiltshift::cli
