// Where everything big lives: outputs, manifests, submissions. Keys are relative paths of
// [A-Za-z0-9._-] parts and '/'. Written whole or not at all; the first writer of a key wins.
//
// Layout:  jobs/<job id>/spec.binpb                                    the submission
//          jobs/<job id>/outputs/<output name>                         a picture
//          jobs/<job id>/manifest/<first>-<last>-<token>.jsonl         manifest lines of one commit
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tiltshift::store {

class BlobStore {
 public:
  virtual ~BlobStore() = default;

  // true: written. false: the key was there and is kept. Durable when it returns.
  // ResourceExhausted (full), PermissionDenied (read-only): say so to a person; Unavailable: try
  // again.
  virtual absl::StatusOr<bool> PutIfAbsent(const std::string& key, std::string_view bytes) = 0;
  virtual absl::StatusOr<std::string> Get(const std::string& key) = 0;
  // Keys that start with `prefix` (a folder, ending in '/'), sorted.
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& prefix) = 0;
  // OK where the key is absent.
  virtual absl::Status Delete(const std::string& key) = 0;
};

// Files below `root`. Unwritable or missing root: an error now, not at the first picture. Where a
// write would leave less than `keep_free` bytes on the disk it is refused, ResourceExhausted, with
// nothing written: others on this disk (Redis' file, logs) need some to end in order.
absl::StatusOr<std::unique_ptr<BlobStore>> OpenFileBlobStore(const std::string& root,
                                                             uint64_t keep_free = 0);

}  // namespace tiltshift::store
