#include "worker/entry_reader.h"

#include <algorithm>

#include "base/check.h"
#include "store/entry_batches.h"

namespace tiltshift::worker {

absl::StatusOr<plan::Variant> EntryReader::VariantAt(const std::string& job_id,
                                                     const plan::Plan& plan, uint64_t index) {
  if (!plan.spec().has_contest()) return plan.At(index);
  uint64_t entry = plan.EntryOf(index), number = 0;
  for (const v1::EntryBatch& batch : plan.spec().contest().batches()) {
    if (entry < batch.entries()) break;
    entry -= batch.entries();
    ++number;
  }
  TS_ASSIGN_OR_RETURN(const auto batch, Read(job_id, number));
  if (entry >= static_cast<uint64_t>(batch->entries_size()))
    return absl::DataLossError(
        absl::StrCat("batch ", number, " of the contest's entries lacks entry ", entry));
  return plan.At(index, plan::RowOf(*batch, entry));
}

absl::StatusOr<std::shared_ptr<const v1::Entries>> EntryReader::Read(const std::string& job_id,
                                                                     uint64_t number) {
  std::lock_guard lock(mutex_);
  const auto found = std::find_if(batches_.begin(), batches_.end(), [&](const Batch& batch) {
    return batch.number == number && batch.job_id == job_id;
  });
  if (found != batches_.end()) {
    batches_.splice(batches_.begin(), batches_, found);
    return batches_.front().entries;
  }
  auto entries = store::GetBatch(blobs_, job_id, number);
  if (absl::IsNotFound(entries.status())) return absl::DataLossError(Message(entries.status()));
  if (!entries.ok()) return entries.status();
  batches_.push_front({job_id, number, std::make_shared<const v1::Entries>(*std::move(entries))});
  if (batches_.size() > kKept) batches_.pop_back();
  return batches_.front().entries;
}

}  // namespace tiltshift::worker
