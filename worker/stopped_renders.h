// Renders that a worker which had to leave stopped between two steps, in the blob store for another
// to go on with. Keys and bytes: docs/blob_store.md.
//
// A state is there before its lease is given back, so whoever holds the variant next finds it. One
// listing a lease shows which variants have any; the others cost nothing. Safe from any thread.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/stopped_render.pb.h"
#include "store/blob_store.h"
#include "worker/lease_queue.h"

namespace tiltshift::worker {

class StoppedRenders {
 public:
  explicit StoppedRenders(store::BlobStore& blobs) : blobs_(blobs) {}

  // Of the variant, the furthest first. What can't be read is left out and named in the log: the
  // render then begins anew, to the same bytes.
  std::vector<v1::StoppedRender> Of(const Work& work);
  absl::Status Keep(const Work& work, const v1::StoppedRender& stopped);
  // Those that Of could see go: the variant has its picture, or failed.
  void Drop(const Work& work);

 private:
  struct Key {
    uint32_t step = 0;
    std::string key;
  };
  using KeysOfVariants = std::map<uint64_t, std::vector<Key>>;
  KeysOfVariants List(const std::string& job_id);
  std::vector<Key> KeysOf(const Work& work);

  store::BlobStore& blobs_;
  std::mutex mutex_;
  std::map<uint64_t, KeysOfVariants> leases_;  // by token
};

// The blob: the SHA-256 of the message, 64 hex characters, then the message.
std::string BytesOf(const v1::StoppedRender& stopped);
// DataLoss: not what was written.
absl::StatusOr<v1::StoppedRender> ParseStoppedRender(std::string_view bytes);

}  // namespace tiltshift::worker
