// Blobs as objects below a prefix of a bucket, over HTTP with path-style addresses. Needs of the
// server: Amazon's signature version 4, strong consistency, PutObject with If-None-Match: *,
// ListObjectsV2, user metadata. Amazon S3, MinIO, Ceph and others have all of it.
//
// A request that finds no server, a slow one or a busy one (408, 409, 429, 5xx) is made again, with
// waits that grow and differ from process to process, until `patience_ms` are over: Unavailable
// then. Wrong credentials, a missing bucket and an untrusted certificate are PermissionDenied at
// once. Each object carries the SHA-256 of its bytes, which Get checks (DataLoss), and a random
// word of the call that wrote it. That word tells a create whose answer was lost on the way from
// somebody else's: only the former is "written".
#pragma once

#include <memory>

#include "base/backoff.h"
#include "store/blob_store.h"
#include "store/s3_address.h"

namespace tiltshift::store {

struct S3Options {
  int connect_timeout_ms = 5'000;
  int stall_seconds = 20;    // without a byte, until a request is given up
  int patience_ms = 20'000;  // for all tries of one call; the last may end later
  int page_keys = 1'000;     // of a listing
  size_t most_bytes = size_t{1} << 30;
  Backoff::Limits waits = {.first_ms = 100, .longest_ms = 3'000};
};

// Writes the small object ".tiltshift-blobs" below the prefix unless it is there, and sees that
// the server refuses to write it again: credentials, bucket and conditional create are as they
// must be.
absl::StatusOr<std::unique_ptr<BlobStore>> OpenS3BlobStore(S3Address address,
                                                           const S3Options& options = {});

}  // namespace tiltshift::store
