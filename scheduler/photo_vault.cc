#include "scheduler/photo_vault.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "absl/time/time.h"
#include "base/hash.h"
#include "picture/photo_check.h"
#include "plan/photo_id.h"
#include "scheduler/blob_threads.h"
#include "seal/sealed_photo.h"
#include "store/photo_blobs.h"

namespace tiltshift::scheduler {
namespace {

constexpr auto kLoadPatience = std::chrono::seconds(5);
constexpr int kLoaders = 16;  // they wait for the blob store more than they do

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
  std::vector<std::string> idle;
  for (const auto& [id, photo] : photos_)
    if (!photo.busy) idle.push_back(id);
  for (const std::string& id : idle) Remove(id);
}

absl::Status PhotoVault::Load() {
  // In this order: a photo that is there has been there before what binds it.
  TS_ASSIGN_OR_RETURN(const auto there, store::ListPhotos(blobs_));
  TS_ASSIGN_OR_RETURN(const auto bindings, store::ListBindings(blobs_));
  std::map<std::string, std::string> jobs;
  for (const v1::PhotoBinding& binding : bindings)
    for (const std::string& id : binding.photo_ids()) jobs[id] = binding.job_id();
  std::mutex mutex;
  absl::Status first;
  {
    BlobThreads threads(kLoaders);
    for (const auto& photo : there) {
      {
        std::lock_guard lock(mutex_);
        if (photos_.contains(photo.first)) continue;
      }
      threads.Run([&, &id = photo.first, &parts = photo.second] {
        const absl::Status loaded = Annotate(LoadOne(id, parts, jobs[id]), "photo " + id);
        std::lock_guard lock(mutex);
        if (first.ok()) first = loaded;
      });
    }
  }  // waits
  TS_RETURN_IF_ERROR(first);
  TS_RETURN_IF_ERROR(DropBindings(bindings));
  std::lock_guard lock(mutex_);
  if (!bindings.empty()) last_binding_ = std::max(last_binding_, bindings.back().number());
  loaded_ = true;
  released_.notify_all();
  metrics_.photos_kept.Set(static_cast<double>(photos_.size()));
  return absl::OkStatus();
}

// One that was never whole was never acknowledged, so nobody misses it.
absl::Status PhotoVault::LoadOne(const std::string& id, const std::set<std::string>& parts,
                                 const std::string& job_id) {
  const bool ending = parts.contains("ending");
  const bool complete =
      parts.contains("key") && parts.contains("sealed") && parts.contains("about");
  if (!complete && !ending) {
    TS_RETURN_IF_ERROR(store::DestroyPhoto(blobs_, id));
    return store::DeletePhotoTraces(blobs_, id);
  }
  const auto about = store::GetPhotoAbout(blobs_, id);
  if (absl::IsNotFound(about.status())) return store::DeletePhotoTraces(blobs_, id);
  if (!about.ok()) return about.status();
  std::lock_guard lock(mutex_);
  Add({{.id = id,
        .tenant = about->tenant(),
        .job_id = job_id,
        .uploaded_ms = about->uploaded_unix_ms(),
        .bytes = about->sealed_bytes(),
        .ending = ending}});
  return absl::OkStatus();
}

// Those of whose photos none is left.
absl::Status PhotoVault::DropBindings(const std::vector<v1::PhotoBinding>& bindings) {
  for (const v1::PhotoBinding& binding : bindings) {
    {
      std::lock_guard lock(mutex_);
      const auto& ids = binding.photo_ids();
      if (std::any_of(ids.begin(), ids.end(),
                      [this](const std::string& id) { return photos_.contains(id); }))
        continue;
    }
    TS_RETURN_IF_ERROR(store::DeleteBinding(blobs_, binding));
  }
  return absl::OkStatus();
}

void PhotoVault::Add(Photo photo) {
  const auto [there, is_new] = photos_.try_emplace(photo.kept.id, photo);
  if (is_new) bytes_[photo.kept.tenant] += photo.kept.bytes;
}

void PhotoVault::Remove(const std::string& id) {
  const auto photo = photos_.find(id);
  const auto bytes = bytes_.find(photo->second.kept.tenant);
  bytes->second -= photo->second.kept.bytes;
  if (bytes->second == 0) bytes_.erase(bytes);
  photos_.erase(photo);
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
  if (gone) Remove(id);
  released_.notify_all();
  metrics_.photos_kept.Set(static_cast<double>(photos_.size()));
}

absl::StatusOr<v1::UploadPhotoResponse> PhotoVault::Store(const v1::PhotoStart& start,
                                                          const seal::Secret& photo) {
  TS_RETURN_IF_ERROR(TakesPhotos());
  v1::UploadPhotoResponse response;
  {
    TS_ASSIGN_OR_RETURN(picture::Image image, process_.Decode(photo.view()));
    response.set_width(static_cast<uint32_t>(image.width));
    response.set_height(static_cast<uint32_t>(image.height));
    if (!start.is_mask()) {
      for (const auto& warning : picture::CheckPhoto(picture::Measure(image)))
        response.add_warnings(warning.words);
    }
    seal::Wipe(std::span(image.rgb));
  }
  const std::string id = NewPhotoId(start.tenant(), start.request_id());
  response.set_photo_id(id);
  TS_ASSIGN_OR_RETURN(const bool is_new, Reserve(id, start));
  if (!is_new && !Claim(id)) return response;  // destroyed while this call waited
  if (is_new && store::GetReceipt(blobs_, id).ok()) {
    Release(id, /*gone=*/true);
    return response;
  }
  absl::StatusOr<bool> same = false;
  if (!is_new) same = IsSame(id, photo);
  const bool put = same.ok() && !*same;
  const absl::Status stored = put ? PutSealed(id, start.tenant(), photo) : same.status();
  Release(id, /*gone=*/put && !stored.ok());
  if (!stored.ok()) return stored;
  return response;
}

// True: there was none of this id, and this call is busy with it.
absl::StatusOr<bool> PhotoVault::Reserve(const std::string& id, const v1::PhotoStart& start) {
  const std::string& tenant = start.tenant();
  const uint64_t most = bound_ == nullptr ? 0 : bound_(tenant);
  std::unique_lock lock(mutex_);
  if (!released_.wait_for(lock, kLoadPatience, [&] { return loaded_; })) return StillReading();
  if (photos_.contains(id)) return false;
  if (most != 0 && bytes_[tenant] + start.bytes() > most) {
    return absl::FailedPreconditionError(absl::StrCat(
        "tenant ", tenant, " has photos of ", bytes_[tenant] / 1'000'000, " MB, and may have ",
        most / 1'000'000, " MB: they go when their entries have ended, or by `tiltshift forget`"));
  }
  Add({{.id = id, .tenant = tenant, .uploaded_ms = clock_.UnixMs(), .bytes = start.bytes()},
       /*busy=*/true});
  return true;
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

absl::StatusOr<std::map<std::string, absl::Status>> PhotoVault::Bind(
    const std::set<std::string>& ids, const Owner& owner) {
  // Two calls claim in the same order, so neither waits for the other for ever.
  std::map<std::string, absl::Status> refused;
  std::vector<std::string> claimed, unbound;
  for (const std::string& id : ids) {
    if (!Claim(id)) {
      refused[id] = NoSuchPhoto(id);
      continue;
    }
    claimed.push_back(id);
    std::lock_guard lock(mutex_);
    const absl::Status may = MayBind(id, owner);
    if (!may.ok()) refused[id] = may;
    if (may.ok() && photos_.at(id).kept.job_id != owner.job_id) unbound.push_back(id);
  }
  const absl::Status bound = refused.empty() && !unbound.empty()
                                 ? PutBindingOf(std::move(unbound), owner.job_id)
                                 : absl::OkStatus();
  for (const std::string& id : claimed) Release(id, /*gone=*/false);
  if (!bound.ok()) return bound;
  return refused;
}

absl::Status PhotoVault::MayBind(const std::string& id, const Owner& owner) const {
  const KeptPhoto& photo = photos_.at(id).kept;
  if (photo.tenant != owner.tenant || photo.ending) return NoSuchPhoto(id);
  if (photo.job_id.empty() || photo.job_id == owner.job_id || !owner.is_job(photo.job_id))
    return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("photo ", id, " is job ", photo.job_id, "'s, and dies with it: upload it anew"));
}

absl::Status PhotoVault::PutBindingOf(std::vector<std::string> ids, const std::string& job_id) {
  v1::PhotoBinding binding;
  binding.set_job_id(job_id);
  binding.mutable_photo_ids()->Add(ids.begin(), ids.end());
  for (bool created = false; !created;) {
    {
      std::lock_guard lock(mutex_);
      last_binding_ = std::max(last_binding_ + 1, clock_.UnixMs());
      binding.set_number(last_binding_);
    }
    TS_ASSIGN_OR_RETURN(created, store::PutBinding(blobs_, binding));
  }
  std::lock_guard lock(mutex_);
  for (const std::string& id : ids) photos_.at(id).kept.job_id = job_id;
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
