#include "store/entry_batches.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

namespace tiltshift::store {
namespace {

std::string KeyOf(const std::string& job_id, uint64_t number) {
  return absl::StrFormat("jobs/%s/entries/%06d.binpb", job_id, number);
}

}  // namespace

std::string BytesOf(const v1::Entries& batch) { return batch.SerializeAsString(); }

absl::StatusOr<bool> PutBatch(BlobStore& blobs, const std::string& job_id, uint64_t number,
                              const v1::Entries& batch) {
  const std::string key = KeyOf(job_id, number), bytes = BytesOf(batch);
  TS_ASSIGN_OR_RETURN(const bool created, blobs.PutIfAbsent(key, bytes));
  if (created) return true;
  TS_ASSIGN_OR_RETURN(const std::string there, blobs.Get(key));
  return there == bytes;
}

absl::StatusOr<v1::Entries> GetBatch(BlobStore& blobs, const std::string& job_id, uint64_t number) {
  const std::string key = KeyOf(job_id, number);
  TS_ASSIGN_OR_RETURN(const std::string bytes, blobs.Get(key));
  v1::Entries batch;
  const bool parsed = batch.ParseFromString(bytes);
  const auto whole = [&](const v1::Entry& entry) {
    return entry.values_size() == batch.columns_size();
  };
  if (parsed && std::all_of(batch.entries().begin(), batch.entries().end(), whole)) return batch;
  return absl::DataLossError(absl::StrCat(key, " is damaged; restore it"));
}

std::optional<uint64_t> BatchNumber(const std::string& name) {
  uint64_t number = 0;
  if (!absl::EndsWith(name, ".binpb") ||
      !absl::SimpleAtoi(name.substr(0, name.size() - 6), &number))
    return std::nullopt;
  return number;
}

}  // namespace tiltshift::store
