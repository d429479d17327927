// A contest's entries in the blob store: jobs/ID/entries/NNNNNN.binpb, a v1::Entries each, in the
// order in which they were taken. That the first writer of a number wins makes two schedulers, or
// two calls, agree on that order.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"
#include "proto/entries.pb.h"
#include "store/blob_store.h"

namespace tiltshift::store {

// As it is stored; the same entries are the same bytes.
std::string BytesOf(const v1::Entries& batch);

// True: written. False: another batch has that number. The same bytes again are no error, and true.
absl::StatusOr<bool> PutBatch(BlobStore& blobs, const std::string& job_id, uint64_t number,
                              const v1::Entries& batch);

// NotFound where there is none; DataLoss where it is damaged.
absl::StatusOr<v1::Entries> GetBatch(BlobStore& blobs, const std::string& job_id, uint64_t number);

// "000007.binpb" -> 7; nullopt of another name.
std::optional<uint64_t> BatchNumber(const std::string& name);

}  // namespace tiltshift::store
