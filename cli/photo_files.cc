#include "cli/photo_files.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <mutex>
#include <thread>

#include "base/file.h"
#include "base/hash.h"
#include "cli/commands.h"
#include "cli/format.h"
#include "picture/photo.h"
#include "plan/photo_id.h"
#include "seal/secret.h"

namespace tiltshift::cli {
namespace {

constexpr size_t kUploadsAtOnce = 8;
constexpr size_t kShownFrom = 20;  // fewer are done before a line is read

// "photos: 1,203 of 10,000 uploaded", on one line of a terminal that redraws itself.
class Counter {
 public:
  Counter(const char* what, size_t of)
      : what_(what), of_(of), shown_(of >= kShownFrom && isatty(STDERR_FILENO) != 0) {}
  ~Counter() {
    if (shown_) std::fputc('\n', stderr);
  }
  void Add() {
    std::lock_guard lock(mutex_);
    ++done_;
    if (shown_)
      std::fprintf(stderr, "\rphotos: %s of %s %s", WithCommas(done_).c_str(),
                   WithCommas(of_).c_str(), what_);
  }

 private:
  const char* const what_;
  const size_t of_;
  const bool shown_;
  std::mutex mutex_;
  size_t done_ = 0;
};

// Does `what` for 0 .. count - 1, a few at once; after an error nothing more is begun, and the
// first is returned.
absl::Status InParallel(size_t threads, size_t count,
                        const std::function<absl::Status(size_t thread, size_t i)>& what) {
  std::mutex mutex;
  absl::Status first;
  size_t next = 0;
  const auto take = [&]() -> size_t {
    std::lock_guard lock(mutex);
    return first.ok() ? next++ : count;
  };
  const auto run = [&](size_t thread) {
    for (size_t i = take(); i < count; i = take()) {
      const absl::Status done =
          Interrupted() ? absl::CancelledError("interrupted") : what(thread, i);
      std::lock_guard lock(mutex);
      if (first.ok()) first = done;
    }
  };
  std::vector<std::thread> others;
  for (size_t i = 1; i < std::min(threads, count); ++i) others.emplace_back(run, i);
  run(0);
  for (std::thread& other : others) other.join();
  return first;
}

int PlaceOf(const v1::Entries& batch, const char* column) {
  const auto found = std::find(batch.columns().begin(), batch.columns().end(), column);
  return found == batch.columns().end() ? -1 : static_cast<int>(found - batch.columns().begin());
}

}  // namespace

plan::PhotoCheck PhotoFiles::Checker() {
  return [this](const std::string& folder, const std::vector<plan::PhotoNames>& all) {
    std::vector<Known*> unseen;
    const auto add = [&](const std::string& name, bool is_mask) {
      if (name.empty() || plan::IsPhotoId(name)) return;
      const auto [file, is_new] =
          files_.try_emplace(name, Known{.path = name, .folder = folder, .is_mask = is_mask});
      file->second.is_mask = file->second.is_mask && is_mask;
      if (is_new) unseen.push_back(&file->second);
    };
    for (const plan::PhotoNames& names : all) {
      add(names.photo, false);
      add(names.mask, true);
    }
    Counter counter("looked at", unseen.size());
    const absl::Status looked = InParallel(std::max(1u, std::thread::hardware_concurrency()),
                                           unseen.size(), [&](size_t, size_t i) {
                                             Look(*unseen[i]);
                                             counter.Add();
                                             return absl::OkStatus();
                                           });
    std::vector<std::string> why(all.size(), Message(looked));
    for (size_t i = 0; i < all.size() && looked.ok(); ++i) why[i] = WhyNot(all[i]);
    return why;
  };
}

std::string PhotoFiles::WhyNot(const plan::PhotoNames& names) const {
  const auto find = [&](const std::string& name) {
    const auto found = files_.find(name);
    return found == files_.end() ? nullptr : &found->second;
  };
  const Known* photo = find(names.photo);
  const Known* mask = find(names.mask);
  if (photo != nullptr && !photo->why_not.empty())
    return absl::StrCat("photo: ", names.photo, ": ", photo->why_not);
  if (mask != nullptr && !mask->why_not.empty())
    return absl::StrCat("mask: ", names.mask, ": ", mask->why_not);
  const bool fit = photo == nullptr || mask == nullptr ||
                   (photo->width == mask->width && photo->height == mask->height);
  if (fit) return "";
  return absl::StrCat("mask: ", names.mask, ": is ", mask->width, "x", mask->height, ", and ",
                      names.photo, " is ", photo->width, "x", photo->height,
                      " when upright; they must be of one size");
}

absl::StatusOr<std::string> PhotoFiles::Read(const Known& known) {
  return ReadFileBelow(known.folder, known.path, picture::kLargestPhotoBytes);
}

void PhotoFiles::Look(Known& known) const {
  auto bytes = Read(known);
  if (!bytes.ok()) {
    known.why_not = absl::IsResourceExhausted(bytes.status())
                        ? Message(picture::CheckPhotoBytes(picture::kLargestPhotoBytes + 1))
                        : Message(bytes.status());
    return;
  }
  auto photo = process_.Decode(*bytes);
  known.sha256 = Sha256Hex(*bytes);
  seal::Wipe(std::span(*bytes));
  known.why_not = Message(photo.status());
  if (!photo.ok()) return;
  known.width = photo->width;
  known.height = photo->height;
  seal::Wipe(std::span(photo->rgb));
}

std::string PhotoFiles::Digest() const {
  Sha256 all;
  for (const auto& [file, known] : files_)
    if (known.why_not.empty()) all.Update(known.sha256);
  return all.Hex();
}

std::string PhotoFiles::IdOf(const std::string& name) const {
  const auto found = files_.find(name);
  return found == files_.end() ? name : found->second.id;
}

absl::Status PhotoFiles::UploadOne(FarmClient& client, const std::string& tenant,
                                   const std::string& request_id, Known& known) {
  auto bytes = Read(known);
  if (!bytes.ok()) return bytes.status();
  v1::PhotoStart start;
  start.set_tenant(tenant);
  start.set_request_id(
      Sha256Hex(absl::StrCat(request_id, "\n", known.path, "\n", Sha256Hex(*bytes))).substr(0, 40));
  start.set_is_mask(known.is_mask);
  const auto uploaded = client.UploadPhoto(start, *bytes);
  seal::Wipe(std::span(*bytes));
  if (!uploaded.ok()) return Annotate(uploaded.status(), "photo " + known.path);
  for (const std::string& warning : uploaded->warnings())
    std::fprintf(stderr, "photo %s: %s\n", known.path.c_str(), warning.c_str());
  known.id = uploaded->photo_id();
  return absl::OkStatus();
}

absl::Status PhotoFiles::UploadAll(const FarmClient& client, const std::string& tenant,
                                   const std::string& request_id,
                                   const std::vector<std::string>& names) {
  std::vector<Known*> files;
  for (const std::string& name : names) {
    const auto file = files_.find(name);
    if (file != files_.end() && file->second.id.empty()) files.push_back(&file->second);
  }
  std::sort(files.begin(), files.end());
  files.erase(std::unique(files.begin(), files.end()), files.end());
  std::vector<FarmClient> clients(std::min(kUploadsAtOnce, files.size()), client);
  Counter counter("uploaded", files.size());
  return InParallel(clients.size(), files.size(), [&](size_t thread, size_t i) {
    const absl::Status done = UploadOne(clients[thread], tenant, request_id, *files[i]);
    if (done.ok()) counter.Add();
    return done;
  });
}

absl::Status PhotoFiles::Upload(const FarmClient& client, const std::string& request_id,
                                plan::SpecFile& file) {
  v1::JobSpec& spec = file.spec;
  TS_RETURN_IF_ERROR(UploadAll(client, spec.tenant(), request_id, {spec.photo(), spec.mask()}));
  spec.set_photo(IdOf(spec.photo()));
  spec.set_mask(IdOf(spec.mask()));
  return Upload(client, spec.tenant(), request_id, file.batches);
}

absl::Status PhotoFiles::Upload(const FarmClient& client, const std::string& tenant,
                                const std::string& request_id, std::vector<v1::Entries>& batches) {
  const auto each = [&](const std::function<void(std::string&)>& see) {
    for (v1::Entries& batch : batches) {
      for (const char* column : {plan::kPhotoColumn, plan::kMaskColumn}) {
        const int place = PlaceOf(batch, column);
        if (place < 0) continue;
        for (v1::Entry& entry : *batch.mutable_entries()) see(*entry.mutable_values(place));
      }
    }
  };
  std::vector<std::string> names;
  each([&](const std::string& name) { names.push_back(name); });
  TS_RETURN_IF_ERROR(UploadAll(client, tenant, request_id, names));
  each([&](std::string& name) { name = IdOf(name); });
  return absl::OkStatus();
}

}  // namespace tiltshift::cli
