// Which entries of a job are made from which photos, masks among them: read from its batches of
// entries, and kept. Waits for the blob store; any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/status.h"
#include "proto/entries.pb.h"
#include "proto/job.pb.h"
#include "store/blob_store.h"

namespace tiltshift::scheduler {

struct PhotoRow {
  std::string photo_id;
  uint64_t entry = 0;            // its number; of a campaign 0: all of it
  std::string entry_id, author;  // of a contest
  std::string field;             // its column, or the spec's field: "photo" or "mask"
};

// The photos and masks that a batch names, with the entries counted from 0 in it; none where it has
// no such column.
std::vector<PhotoRow> RowsWithPhotos(const v1::Entries& batch);
// Those that a campaign's spec names.
std::vector<PhotoRow> RowsOf(const v1::JobSpec& spec);

class PhotoRows {
 public:
  explicit PhotoRows(store::BlobStore& blobs) : blobs_(blobs) {}

  using Rows = std::shared_ptr<const std::vector<PhotoRow>>;
  // In the order of the entries.
  absl::StatusOr<Rows> Of(const v1::Job& job);

 private:
  struct Known {
    int batches = 0;
    Rows rows;
  };
  store::BlobStore& blobs_;
  std::mutex mutex_;
  std::map<std::string, Known> jobs_;
};

}  // namespace tiltshift::scheduler
