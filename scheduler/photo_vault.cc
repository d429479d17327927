#include "scheduler/photo_vault.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "absl/time/time.h"
#include "base/hash.h"
#include "picture/photo_check.h"
#include "plan/photo_id.h"
#include "seal/sealed_photo.h"
#include "store/photo_blobs.h"

namespace tiltshift::scheduler {
namespace {

constexpr auto kLoadPatience = std::chrono::seconds(5);

// The same for the same request; else one that nobody can guess.
std::string NewPhotoId(const std::string& tenant, const std::string& request_id) {
  if (request_id.empty()) return "p" + RandomHex(16);
  return "p" + Sha256Hex(absl::StrCat("photo ", tenant, "\n", request_id)).substr(0, 32);
}

absl::Status NoSuchPhoto(const std::string& id) {
  return absl::NotFoundError(
      absl::StrCat("there is no photo ", id, " (any more): upload it, and name it by its new id"));
}

}  // namespace

absl::Status StillReading() {
  return absl::UnavailableError("the farm's photos are still being read; try again soon");
}

absl::Status PhotoVault::TakesPhotos() const {
  if (farm_key_) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "this farm takes no photos: its scheduler has no --farm-key to keep them by "
      "(docs/photos.md)");
}

bool PhotoVault::loaded() const {
  std::lock_guard lock(mutex_);
  return loaded_;
}

void PhotoVault::Unload() {
  std::lock_guard lock(mutex_);
  loaded_ = false;
  std::erase_if(photos_, [](const auto& photo) { return !photo.second.busy; });
}

absl::Status PhotoVault::Load() {
  TS_ASSIGN_OR_RETURN(const auto there, store::ListPhotos(blobs_));
  for (const auto& [id, parts] : there) {
    {
      std::lock_guard lock(mutex_);
      if (photos_.contains(id)) continue;
    }
    const bool ending = parts.contains("ending");
    const bool complete = parts.contains("key") && parts.contains("sealed");
    TS_RETURN_IF_ERROR(
        Annotate(LoadOne(id, complete && parts.contains("about"), ending), "photo " + id));
  }
  std::lock_guard lock(mutex_);
  loaded_ = true;
  released_.notify_all();
  metrics_.photos_kept.Set(static_cast<double>(photos_.size()));
  return absl::OkStatus();
}

// One that was never whole was never acknowledged, so nobody misses it.
absl::Status PhotoVault::LoadOne(const std::string& id, bool complete, bool ending) {
  if (!complete && !ending) {
    TS_RETURN_IF_ERROR(store::DestroyPhoto(blobs_, id));
    return store::DeletePhotoTraces(blobs_, id);
  }
  const auto about = store::GetPhotoAbout(blobs_, id);
  if (absl::IsNotFound(about.status())) return store::DeletePhotoTraces(blobs_, id);
  if (!about.ok()) return about.status();
  TS_ASSIGN_OR_RETURN(const std::string job_id, store::GetPhotoJob(blobs_, id));
  std::lock_guard lock(mutex_);
  photos_.emplace(id, Photo{{id, about->tenant(), job_id, about->uploaded_unix_ms(), ending}});
  return absl::OkStatus();
}

bool PhotoVault::Claim(const std::string& id) {
  std::unique_lock lock(mutex_);
  released_.wait(lock, [&] { return !photos_.contains(id) || !photos_.at(id).busy; });
  if (!photos_.contains(id)) return false;
  photos_.at(id).busy = true;
  return true;
}

void PhotoVault::Release(const std::string& id, bool gone) {
  std::lock_guard lock(mutex_);
  photos_.at(id).busy = false;
  if (gone) photos_.erase(id);
  released_.notify_all();
  metrics_.photos_kept.Set(static_cast<double>(photos_.size()));
}

absl::StatusOr<v1::UploadPhotoResponse> PhotoVault::Store(const std::string& tenant,
                                                          const std::string& request_id,
                                                          const seal::Secret& photo) {
  TS_RETURN_IF_ERROR(TakesPhotos());
  v1::UploadPhotoResponse response;
  {
    TS_ASSIGN_OR_RETURN(picture::Image image, process_.Decode(photo.view()));
    response.set_width(static_cast<uint32_t>(image.width));
    response.set_height(static_cast<uint32_t>(image.height));
    for (const auto& warning : picture::CheckPhoto(picture::Measure(image)))
      response.add_warnings(warning.words);
    seal::Wipe(std::span(image.rgb));
  }
  const std::string id = NewPhotoId(tenant, request_id);
  response.set_photo_id(id);
  bool is_new = false;
  {
    std::unique_lock lock(mutex_);
    if (!released_.wait_for(lock, kLoadPatience, [&] { return loaded_; })) return StillReading();
    is_new = photos_.emplace(id, Photo{{id, tenant, "", clock_.UnixMs()}, /*busy=*/true}).second;
  }
  if (!is_new && !Claim(id)) return response;  // destroyed while this call waited
  if (is_new && store::GetReceipt(blobs_, id).ok()) {
    Release(id, /*gone=*/true);
    return response;
  }
  absl::StatusOr<bool> same = false;
  if (!is_new) same = IsSame(id, photo);
  const bool put = same.ok() && !*same;
  const absl::Status stored = put ? PutSealed(id, tenant, photo) : same.status();
  Release(id, /*gone=*/put && !stored.ok());
  if (!stored.ok()) return stored;
  return response;
}

// False: it can't be opened any more, because its farm key is gone (`tiltshift render` has a new
// one each time), and its room is free.
absl::StatusOr<bool> PhotoVault::IsSame(const std::string& id, const seal::Secret& photo) {
  TS_ASSIGN_OR_RETURN(const std::string wrapped, store::GetPhotoKey(blobs_, id));
  const auto key = farm_key_->Unwrap(wrapped, id);
  if (absl::IsFailedPrecondition(key.status())) {
    TS_RETURN_IF_ERROR(store::DestroyPhoto(blobs_, id));
    TS_RETURN_IF_ERROR(blobs_.Delete(absl::StrCat("photos/", id, "/about")));
    return false;
  }
  if (!key.ok()) return key.status();
  TS_ASSIGN_OR_RETURN(const std::string sealed, store::GetSealedPhoto(blobs_, id));
  TS_ASSIGN_OR_RETURN(const seal::Secret there, seal::Open(sealed, *key, id));
  if (there.view() == photo.view()) return true;
  return absl::AlreadyExistsError("request_id: it was used for another photo; choose a new one");
}

absl::Status PhotoVault::PutSealed(const std::string& id, const std::string& tenant,
                                   const seal::Secret& photo) {
  const seal::Secret key = seal::NewPhotoKey();
  const std::string sealed = seal::Seal(photo.view(), key, id);
  v1::PhotoAbout about;
  about.set_tenant(tenant);
  about.set_uploaded_unix_ms(clock_.UnixMs());
  about.set_sealed_sha256(Sha256Hex(sealed));
  about.set_sealed_bytes(sealed.size());
  const absl::Status stored =
      store::PutPhoto(blobs_, id, about, {farm_key_->Wrap(key, id), sealed});
  if (stored.ok()) {
    metrics_.photos_taken.Add();
    return stored;
  }
  store::DestroyPhoto(blobs_, id).IgnoreError();  // else the next leader finds it half stored
  store::DeletePhotoTraces(blobs_, id).IgnoreError();
  return stored;
}

absl::Status PhotoVault::Bind(const std::string& id, const std::string& tenant,
                              const std::string& job_id,
                              const std::function<bool(const std::string&)>& is_job) {
  if (!Claim(id)) return NoSuchPhoto(id);
  const absl::Status bound = BindClaimed(id, tenant, job_id, is_job);
  Release(id, /*gone=*/false);
  return bound;
}

absl::Status PhotoVault::BindClaimed(const std::string& id, const std::string& tenant,
                                     const std::string& job_id,
                                     const std::function<bool(const std::string&)>& is_job) {
  KeptPhoto photo;
  {
    std::lock_guard lock(mutex_);
    photo = photos_.at(id).kept;
  }
  if (photo.tenant != tenant || photo.ending) return NoSuchPhoto(id);
  if (photo.job_id == job_id) return absl::OkStatus();
  if (!photo.job_id.empty() && is_job(photo.job_id)) {
    return absl::FailedPreconditionError(absl::StrCat("photo ", id, " is job ", photo.job_id,
                                                      "'s, and dies with it: upload it anew"));
  }
  TS_RETURN_IF_ERROR(store::PutPhotoJob(blobs_, id, job_id));
  std::lock_guard lock(mutex_);
  photos_.at(id).kept.job_id = job_id;
  return absl::OkStatus();
}

absl::StatusOr<seal::Secret> PhotoVault::Open(const std::string& id, const std::string& job_id) {
  TS_RETURN_IF_ERROR(TakesPhotos());
  {
    std::lock_guard lock(mutex_);
    if (!loaded_) return StillReading();
    const auto photo = photos_.find(id);
    if (photo == photos_.end() || photo->second.kept.job_id != job_id || photo->second.kept.ending)
      return absl::NotFoundError(absl::StrCat("photo ", id, " was destroyed"));
  }
  auto wrapped = store::GetPhotoKey(blobs_, id);
  if (!wrapped.ok()) return wrapped.status();
  auto key = farm_key_->Unwrap(*wrapped, id);
  // Another scheduler may have the right one, or the photo comes again: nothing to fail for at
  // once.
  if (absl::IsFailedPrecondition(key.status()))
    return absl::UnavailableError(Message(key.status()));
  return key;
}

std::vector<KeptPhoto> PhotoVault::Kept() const {
  std::vector<KeptPhoto> kept;
  std::lock_guard lock(mutex_);
  for (const auto& [id, photo] : photos_) {
    if (!photo.busy) kept.push_back(photo.kept);
  }
  return kept;
}

absl::StatusOr<bool> PhotoVault::Destroy(const std::string& id, v1::PhotoEnding ending) {
  if (!Claim(id)) return false;
  ending.set_decided_unix_ms(clock_.UnixMs());
  {
    std::lock_guard lock(mutex_);
    photos_.at(id).kept.ending = true;  // nobody is given its key from now on
  }
  const absl::Status destroyed = DestroyClaimed(id, std::move(ending));
  Release(id, destroyed.ok());
  if (!destroyed.ok()) return destroyed;
  return true;
}

absl::Status PhotoVault::DestroyClaimed(const std::string& id, v1::PhotoEnding ending) {
  auto decided = store::PutPhotoEnding(blobs_, id, ending);
  if (!decided.ok()) {
    std::lock_guard lock(mutex_);
    photos_.at(id).kept.ending = false;
    return decided.status();
  }
  ending = *std::move(decided);
  TS_ASSIGN_OR_RETURN(const v1::PhotoAbout about, store::GetPhotoAbout(blobs_, id));
  TS_RETURN_IF_ERROR(store::DestroyPhoto(blobs_, id));
  TS_RETURN_IF_ERROR(store::PutReceipt(blobs_, id, ReceiptOf(id, about, ending)));
  TS_RETURN_IF_ERROR(store::DeletePhotoTraces(blobs_, id));
  metrics_.photos_destroyed.Add();
  spdlog::info("photo {} is destroyed: {}", id, ending.why());
  return absl::OkStatus();
}

v1::Receipt PhotoVault::ReceiptOf(const std::string& id, const v1::PhotoAbout& about,
                                  const v1::PhotoEnding& ending) const {
  const nlohmann::ordered_json statement = {
      {"photo", id},
      {"job", ending.job_id()},
      {"entries", std::vector<std::string>(ending.entry_ids().begin(), ending.entry_ids().end())},
      {"why", ending.why()},
      {"decided_at",
       absl::FormatTime(absl::RFC3339_full, absl::FromUnixMillis(ending.decided_unix_ms()),
                        absl::UTCTimeZone())},
      {"destroyed_at", absl::FormatTime(absl::RFC3339_full, absl::FromUnixMillis(clock_.UnixMs()),
                                        absl::UTCTimeZone())},
      {"destroyed", {"wrapped key", "sealed photo"}},
      {"sealed_sha256", about.sealed_sha256()},
      {"sealed_bytes", about.sealed_bytes()}};
  v1::Receipt receipt;
  receipt.set_statement(
      statement.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  if (!farm_key_) return receipt;
  receipt.set_signature(farm_key_->Sign(receipt.statement()));
  receipt.set_public_key(farm_key_->public_key());
  return receipt;
}

}  // namespace tiltshift::scheduler
