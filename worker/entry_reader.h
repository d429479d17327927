// The rows of contests, read from the blob store as the slots come to them: by batches, the last
// few of which stay. Safe from any thread; several that want one batch read it once.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "plan/plan.h"
#include "store/blob_store.h"

namespace tiltshift::worker {

class EntryReader {
 public:
  explicit EntryReader(store::BlobStore& blobs) : blobs_(blobs) {}

  // What the variant is. Errors are the blob store's: of a contest alone, whose row has to be read.
  absl::StatusOr<plan::Variant> VariantAt(const std::string& job_id, const plan::Plan& plan,
                                          uint64_t index);

 private:
  struct Batch {
    std::string job_id;
    uint64_t number = 0;
    std::shared_ptr<const v1::Entries> entries;
  };
  absl::StatusOr<std::shared_ptr<const v1::Entries>> Read(const std::string& job_id,
                                                          uint64_t number);

  static constexpr size_t kKept = 8;
  store::BlobStore& blobs_;
  std::mutex mutex_;
  std::list<Batch> batches_;  // the last used first
};

}  // namespace tiltshift::worker
