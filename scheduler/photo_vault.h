// The photos of the farm that can still be opened: stores them, gives their keys to who renders
// them, and destroys them. What is kept where, and why: docs/photos.md.
//
// What there is, is in memory while this scheduler leads, read from the blob store when it begins
// to. A photo is destroyed in steps that are each durable, the decision first; whoever leads after
// a crash goes on with it. All calls wait for the blob store; any thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "monitoring/metrics.h"
#include "picture/photo_process.h"
#include "proto/farm.pb.h"
#include "seal/farm_key.h"
#include "store/blob_store.h"

namespace tiltshift::scheduler {

struct KeptPhoto {
  std::string id, tenant, job_id;  // job_id: empty, it is for none yet
  int64_t uploaded_ms = 0;
  uint64_t bytes = 0;
  bool ending = false;  // the decision to destroy it is durable
};

// What a call hears that comes before the vault knows its photos: Unavailable.
absl::Status StillReading();

class PhotoVault {
 public:
  // Bytes of photos that a tenant may have at once; 0: any number.
  using Bound = std::function<uint64_t(const std::string& tenant)>;

  // Without a farm key no photo is taken, and none opened.
  PhotoVault(store::BlobStore& blobs, std::optional<seal::FarmKey> farm_key, const Clock& clock,
             monitoring::SchedulerMetrics& metrics, Bound bound = nullptr)
      : blobs_(blobs),
        farm_key_(std::move(farm_key)),
        clock_(clock),
        metrics_(metrics),
        bound_(std::move(bound)) {}

  // FailedPrecondition: there is no farm key.
  absl::Status TakesPhotos() const;

  // The lead begins or goes on: reads what the blob store has, and adds what is not known yet.
  // What was left half stored is deleted.
  absl::Status Load();
  void Unload();
  bool loaded() const;

  // Looks at the photo in a process of its own, seals it and stores it. InvalidArgument: it can't
  // be taken; FailedPrecondition: the tenant has as many as it may. A photo of the same tenant and
  // request id that was destroyed meanwhile stays so; its id is answered.
  absl::StatusOr<v1::UploadPhotoResponse> Store(const v1::PhotoStart& start,
                                                const seal::Secret& photo);

  // All of them are for this job from now on, by one durable write however many they are; or, where
  // some can't be, none. Returns those, by id. NotFound: there is none that the tenant may use, or
  // it was destroyed; FailedPrecondition: it is another job's, unless `is_job` does not know that
  // one.
  struct Owner {
    std::string tenant, job_id;
    std::function<bool(const std::string& job_id)> is_job;
  };
  absl::StatusOr<std::map<std::string, absl::Status>> Bind(const std::set<std::string>& ids,
                                                           const Owner& owner);

  // Its key; NotFound where it is not the job's.
  absl::StatusOr<seal::Secret> Open(const std::string& id, const std::string& job_id);

  std::vector<KeptPhoto> Kept() const;
  // True: destroyed by this call, and its receipt is there. False: it was gone. `ending` without
  // its time; where another was decided before, that one counts.
  absl::StatusOr<bool> Destroy(const std::string& id, v1::PhotoEnding ending);

  std::string public_key() const { return farm_key_ ? farm_key_->public_key() : ""; }

 private:
  struct Photo {
    KeptPhoto kept;
    bool busy = false;  // a call stores or destroys it
  };
  // Waits until nobody else is busy with it. False: there is no such photo.
  bool Claim(const std::string& id);
  void Release(const std::string& id, bool gone);
  void Add(Photo photo);  // with mutex_ held
  void Remove(const std::string& id);
  absl::Status LoadOne(const std::string& id, const std::set<std::string>& parts,
                       const std::string& job_id);
  absl::Status DropBindings(const std::vector<v1::PhotoBinding>& bindings);
  absl::StatusOr<bool> Reserve(const std::string& id, const v1::PhotoStart& start);
  absl::Status MayBind(const std::string& id, const Owner& owner) const;
  absl::Status PutBindingOf(std::vector<std::string> ids, const std::string& job_id);
  absl::StatusOr<bool> IsSame(const std::string& id, const seal::Secret& photo);
  absl::Status PutSealed(const std::string& id, const std::string& tenant,
                         const seal::Secret& photo);
  absl::Status DestroyClaimed(const std::string& id, v1::PhotoEnding ending);
  v1::Receipt ReceiptOf(const std::string& id, const v1::PhotoAbout& about,
                        const v1::PhotoEnding& ending) const;

  store::BlobStore& blobs_;
  const std::optional<seal::FarmKey> farm_key_;
  const Clock& clock_;
  monitoring::SchedulerMetrics& metrics_;
  const Bound bound_;
  const picture::PhotoProcess process_;
  mutable std::mutex mutex_;
  std::condition_variable released_;
  std::map<std::string, Photo> photos_;
  std::map<std::string, uint64_t> bytes_;  // by tenant
  int64_t last_binding_ = 0;
  bool loaded_ = false;
};

}  // namespace tiltshift::scheduler
