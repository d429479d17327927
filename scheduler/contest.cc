#include "scheduler/contest.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "base/hash.h"
#include "plan/entries.h"
#include "scheduler/message_checks.h"
#include "store/entry_batches.h"

namespace tiltshift::scheduler {
namespace {

constexpr size_t kMostNamed = 10;  // bad rows in one error
constexpr uint32_t kListed = 100, kMostListed = 1'000;
constexpr uint64_t kMostVariantsListed = 1'000'000;
constexpr size_t kListedBytes = 2'000'000;

absl::StatusOr<plan::Plan> PlanOf(const v1::JobSpec& spec) {
  TS_ASSIGN_OR_RETURN(plan::Plan plan, plan::Plan::Create(spec));
  if (plan.count() <= kMostVariants) return plan;
  return absl::OutOfRangeError(
      absl::StrCat(spec.has_contest() ? "entries and axes make " : "the axes make ", plan.count(),
                   " variants; a job may have ", kMostVariants, ": split it, or leave axes out"));
}

// The plan of `spec` with the batch. Nothing is stored.
absl::StatusOr<plan::Plan> PlanWith(const v1::JobSpec& spec, const v1::Entries& batch,
                                    plan::EntryLedger& ledger) {
  TS_RETURN_IF_ERROR(plan::CheckColumns(spec, batch));
  std::vector<std::string> bad;
  for (const auto& [entry, what] : plan::CheckEntries(spec, batch, ledger)) {
    if (bad.size() == kMostNamed) break;
    bad.push_back(absl::StrCat("entries[", entry, "]: ", what));
  }
  if (!bad.empty()) return absl::InvalidArgumentError(absl::StrJoin(bad, "\n"));
  v1::JobSpec with_batch = spec;
  plan::AddBatch(batch, Sha256Hex(store::BytesOf(batch)), with_batch);
  return PlanOf(with_batch);
}

v1::JobState StateOf(const v1::Job& job, const v1::EntryStatus& entry) {
  const uint64_t ended = entry.committed() + entry.failed();
  if (ended == entry.variants().count())
    return entry.failed() > 0 ? v1::JOB_STATE_FAILED : v1::JOB_STATE_DONE;
  if (job.state() == v1::JOB_STATE_CANCELLED || job.state() == v1::JOB_STATE_PAUSED)
    return job.state();
  return ended > 0 ? v1::JOB_STATE_RUNNING : v1::JOB_STATE_QUEUED;
}

}  // namespace

absl::StatusOr<plan::Plan> TakeSubmission(store::BlobStore& blobs, const std::string& job_id,
                                          const v1::SubmitRequest& request,
                                          const TakePhotos& take_photos) {
  v1::JobSpec spec = request.spec();
  if (spec.kind() != v1::JOB_KIND_CONTEST) {
    if (!request.entries().entries().empty())
      return absl::InvalidArgumentError("entries: a campaign has none; write kind: contest");
    TS_ASSIGN_OR_RETURN(plan::Plan plan, PlanOf(spec));
    TS_RETURN_IF_ERROR(take_photos(plan.spec(), request.entries()));
    return plan;
  }
  spec.mutable_contest()->clear_columns();
  spec.mutable_contest()->clear_batches();
  plan::EntryLedger ledger(spec.contest().per_author());
  TS_ASSIGN_OR_RETURN(plan::Plan plan, PlanWith(spec, request.entries(), ledger));
  TS_RETURN_IF_ERROR(take_photos(plan.spec(), request.entries()));
  TS_ASSIGN_OR_RETURN(const bool stored, store::PutBatch(blobs, job_id, 0, request.entries()));
  if (!stored)
    return absl::AlreadyExistsError("request_id: it was used for other entries; choose a new one");
  return plan;
}

Ledgers::Known Ledgers::Take(const std::string& job_id, const v1::JobSpec& spec) {
  std::lock_guard lock(mutex_);
  if (kept_.has_value() && kept_->job_id == job_id &&
      kept_->batches <= spec.contest().batches_size()) {
    return *std::exchange(kept_, std::nullopt);
  }
  return {job_id, 0, plan::EntryLedger(spec.contest().per_author())};
}

void Ledgers::Keep(Known known) {
  std::lock_guard lock(mutex_);
  kept_ = std::move(known);
}

absl::StatusOr<plan::Plan> TakeBatch(store::BlobStore& blobs, Ledgers& ledgers,
                                     const std::string& job_id, v1::JobSpec spec,
                                     const v1::Entries& batch, const TakePhotos& take_photos) {
  if (!spec.has_contest())
    return absl::FailedPreconditionError(absl::StrCat("job ", job_id, " is no contest"));
  const std::string sha256 = Sha256Hex(store::BytesOf(batch));
  for (const v1::EntryBatch& known : spec.contest().batches())
    if (known.sha256() == sha256) return PlanOf(spec);
  for (;;) {
    Ledgers::Known known = ledgers.Take(job_id, spec);
    for (; known.batches < spec.contest().batches_size(); ++known.batches) {
      TS_ASSIGN_OR_RETURN(const v1::Entries earlier,
                          store::GetBatch(blobs, job_id, static_cast<uint64_t>(known.batches)));
      known.ledger.AddAll(earlier);
    }
    TS_ASSIGN_OR_RETURN(plan::Plan plan, PlanWith(spec, batch, known.ledger));
    TS_RETURN_IF_ERROR(take_photos(plan.spec(), batch));
    const uint64_t number = static_cast<uint64_t>(known.batches);
    TS_ASSIGN_OR_RETURN(const bool stored, store::PutBatch(blobs, job_id, number, batch));
    if (stored) {
      ++known.batches;
      ledgers.Keep(std::move(known));
      return plan;
    }
    // The ledger has entries that are not there.
    TS_ASSIGN_OR_RETURN(const v1::Entries other, store::GetBatch(blobs, job_id, number));
    plan::AddBatch(other, Sha256Hex(store::BytesOf(other)), spec);
  }
}

absl::StatusOr<v1::ListEntriesResponse> ReadEntries(store::BlobStore& blobs, const v1::Job& job,
                                                    const v1::ListEntriesRequest& request) {
  if (!job.spec().has_contest())
    return absl::FailedPreconditionError(absl::StrCat("job ", job.id(), " is no contest"));
  v1::ListEntriesResponse response;
  response.set_total(plan::EntryCount(job.spec()));
  const uint64_t each = job.variants() / response.total();
  uint64_t left = std::min<uint64_t>(request.limit() == 0 ? kListed : request.limit(), kMostListed);
  left = std::min(left, std::max<uint64_t>(1, kMostVariantsListed / each));
  size_t bytes = 0;
  uint64_t before = 0;  // entries of earlier batches
  for (int number = 0; number < job.spec().contest().batches_size(); ++number) {
    const uint64_t entries = job.spec().contest().batches(number).entries();
    uint64_t next = std::max(request.first(), before);
    before += entries;
    if (next >= before) continue;
    TS_ASSIGN_OR_RETURN(const v1::Entries batch,
                        store::GetBatch(blobs, job.id(), static_cast<uint64_t>(number)));
    for (; next < before && left > 0 && bytes < kListedBytes; ++next, --left) {
      v1::EntryStatus& entry = *response.add_entries();
      for (auto& [column, value] : plan::RowOf(batch, next - (before - entries)))
        (*entry.mutable_columns())[column] = value;
      entry.set_id(entry.columns().at("id"));
      if (entry.columns().contains("author")) entry.set_author(entry.columns().at("author"));
      entry.mutable_variants()->set_first(next * each);
      entry.mutable_variants()->set_count(each);
      bytes += entry.ByteSizeLong();
    }
    if (left == 0 || bytes >= kListedBytes) break;
  }
  return response;
}

void AddProgress(const v1::Job& job, const store::FarmStore::Progress& progress,
                 v1::ListEntriesResponse& response) {
  size_t at = 0;
  for (v1::EntryStatus& entry : *response.mutable_entries()) {
    for (uint64_t i = 0; i < entry.variants().count(); ++i, ++at) {
      entry.set_committed(entry.committed() + progress.committed[at]);
      entry.set_failed(entry.failed() + progress.failed[at]);
      const auto reason = progress.reasons.find(entry.variants().first() + i);
      if (entry.reason().empty() && reason != progress.reasons.end())
        entry.set_reason(reason->second);
    }
    entry.set_state(StateOf(job, entry));
  }
}

}  // namespace tiltshift::scheduler
