// Where everything big lives: outputs, manifests, submissions. Written whole or not at all; the
// first writer of a key wins; what is written is read and listed at once by everyone. Two
// implementations, files and S3, behind this interface: docs/blob_store.md.
//
// Keys are relative paths: parts between single '/', none "." or "..", no control character and no
// backslash, 1024 bytes in all, 255 a part.
//
// Layout:  jobs/<job id>/spec.binpb                                    the submission
//          jobs/<job id>/cancelled                                     when it was
//          jobs/<job id>/entries/<number>.binpb                        a batch of a contest's entries
//          jobs/<job id>/outputs/<output name>                         a picture
//          jobs/<job id>/manifest/<first>-<last>-<token>.jsonl         manifest lines of one commit
//          jobs/<job id>/stopped/<variant>-<step>-<token>.binpb        a render to go on with
//          photos/<photo id>/..., receipts/<photo id>.json, bindings/  store/photo_blobs.h
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
  virtual absl::StatusOr<bool> Exists(const std::string& key) = 0;
  // Keys below the folder `prefix`, which ends in '/', sorted.
  absl::StatusOr<std::vector<std::string>> List(const std::string& prefix) {
    return ListSome(prefix, SIZE_MAX);
  }
  // At most `most` of them, whichever come first, at no more cost.
  virtual absl::StatusOr<std::vector<std::string>> ListSome(const std::string& prefix,
                                                            size_t most) = 0;
  // OK where the key is absent. Durable when it returns; of what a killed writer left of it, too.
  virtual absl::Status Delete(const std::string& key) = 0;

  // The process is to end: calls that wait for another machine end within about a second,
  // Unavailable, and later ones at once.
  virtual void Interrupt() {}
};

struct BlobOptions {
  std::string where;                   // a folder, or s3://BUCKET/PREFIX
  std::string s3_endpoint, s3_region;  // empty: what the environment says (store/s3_address.h)
  uint64_t keep_free = 0;              // bytes to leave on a folder's disk
};

// The store that `options` name; the one place that knows both kinds. An error now where it can't
// be written, so that no picture is rendered for nothing.
absl::StatusOr<std::unique_ptr<BlobStore>> OpenBlobStore(const BlobOptions& options);

// Files below `root`. Unwritable or missing root: an error now, not at the first picture. Where a
// write would leave less than `keep_free` bytes on the disk it is refused, ResourceExhausted, with
// nothing written: others on this disk (Redis' file, logs) need some to end in order.
absl::StatusOr<std::unique_ptr<BlobStore>> OpenFileBlobStore(const std::string& root,
                                                             uint64_t keep_free = 0);

// InvalidArgument where `key` is none. A folder is a key and '/'.
absl::Status CheckBlobKey(const std::string& key);
absl::Status CheckBlobFolder(const std::string& prefix);

}  // namespace tiltshift::store
