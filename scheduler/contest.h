// Batches of a contest's entries, taken: checked against each other, put into the blob store, noted
// in the spec. All of it waits for the blob store.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "base/status.h"
#include "plan/entries.h"
#include "plan/plan.h"
#include "proto/farm.pb.h"
#include "scheduler/farm_loop.h"
#include "store/blob_store.h"

namespace tiltshift::scheduler {

// What is done about the photos of a batch (of a campaign: an empty one) before it is stored. Its
// error ends the call.
using TakePhotos = std::function<absl::Status(const v1::JobSpec& spec, const v1::Entries& batch)>;

// The plan of a submission; with entries that of a contest, whose first batch is stored then.
// InvalidArgument names the field, or the first rows that can't be taken.
absl::StatusOr<plan::Plan> TakeSubmission(store::BlobStore& blobs, const std::string& job_id,
                                          const v1::SubmitRequest& request,
                                          const TakePhotos& take_photos);

// The entries of the contest that grew last, so that its next batch is checked without reading
// those before it again. Any thread.
class Ledgers {
 public:
  struct Known {
    std::string job_id;
    int batches = 0;  // the first so many of the job's: what is stored under a number never changes
    plan::EntryLedger ledger;
  };
  // What is known of the job, and not kept any more; else a ledger without entries.
  Known Take(const std::string& job_id, const v1::JobSpec& spec);
  void Keep(Known known);

 private:
  std::mutex mutex_;
  std::optional<Known> kept_;
};

// The plan of a contest that has run as `spec` so far, with another batch. A batch that is there
// already adds nothing; one that another call or an earlier leader has stored meanwhile comes
// first.
absl::StatusOr<plan::Plan> TakeBatch(store::BlobStore& blobs, Ledgers& ledgers,
                                     const std::string& job_id, v1::JobSpec spec,
                                     const v1::Entries& batch, const TakePhotos& take_photos);

// The rows of some entries of `job`, in their order, with their ranges; as many as a message may
// hold.
absl::StatusOr<v1::ListEntriesResponse> ReadEntries(store::BlobStore& blobs, const v1::Job& job,
                                                    const v1::ListEntriesRequest& request);

// Tells of each entry how far it is. `progress` begins with the first variant of the first.
void AddProgress(const v1::Job& job, const store::FarmStore::Progress& progress,
                 v1::ListEntriesResponse& response);

}  // namespace tiltshift::scheduler
