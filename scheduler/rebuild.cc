#include "scheduler/rebuild.h"

#include <algorithm>

#include "plan/plan.h"
#include "store/submissions.h"

namespace tiltshift::scheduler {
namespace {

constexpr int kLeadMs = 30'000;
constexpr size_t kRangesAtOnce = 1'000;
// Beyond every token that a worker may hold still from before.
constexpr uint64_t kTokenGap = 1'000'000;

absl::Status CheckEmpty(store::FarmStore& store) {
  TS_RETURN_IF_ERROR(store.CheckSchema());
  TS_ASSIGN_OR_RETURN(const uint64_t keys, store.KeysOfOthers());
  if (keys == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("Redis at ", store.client().address(), " is not empty (", keys,
                   " keys): --rebuild is for one that has lost everything. Nothing was changed"));
}

// The plan's count; what is stored beyond it is damage.
absl::StatusOr<uint64_t> Count(const store::BlobJob& job) {
  const auto plan = plan::Plan::Create(job.spec);
  if (!plan.ok()) return Annotate(plan.status(), absl::StrCat("the submission of job ", job.id));
  const bool fits =
      job.stored.empty() || job.stored.back().first() + job.stored.back().count() <= plan->count();
  if (fits) return plan->count();
  return absl::DataLossError(absl::StrCat("job ", job.id, " has ", plan->count(),
                                          " variants, and its manifest names a later one"));
}

// Contract: the job in Redis, with its commits under a lease that is gone again at the end. Sent in
// groups; every write is idempotent.
absl::Status WriteJob(store::FarmStore& store, uint64_t epoch, uint64_t token,
                      const store::BlobJob& job, uint64_t count, int64_t now_ms) {
  using store::FarmStore;
  TS_RETURN_IF_ERROR(
      store.WriteAll({FarmStore::Submit(epoch, job.id, job.spec, count, job.submitted_ms, "")})
          .status());
  for (size_t i = 0; i < job.stored.size(); i += kRangesAtOnce) {
    const size_t end = std::min(job.stored.size(), i + kRangesAtOnce);
    const std::vector<v1::VariantRange> ranges(job.stored.begin() + i, job.stored.begin() + end);
    TS_RETURN_IF_ERROR(
        store
            .WriteAll(
                {FarmStore::Turns(epoch, job.id,
                                  {{}, {{token, job.id, 0, count, 0, "rebuild"}}, {}, 0},
                                  job.submitted_ms),
                 FarmStore::Turns(epoch, job.id,
                                  {{{token, ranges, {}}}, {}, {token}, job.stored_bytes}, now_ms)})
            .status());
  }
  if (job.spec.strict() && !job.render_class.empty()) {
    TS_RETURN_IF_ERROR(
        store.WriteAll({FarmStore::SetRenderClass(epoch, job.id, job.render_class)}).status());
  }
  if (job.cancelled_ms == 0) return absl::OkStatus();
  return store.WriteAll({FarmStore::Cancel(epoch, job.id, job.cancelled_ms)}).status();
}

absl::StatusOr<Rebuilt> Write(store::FarmStore& store, const std::string& name, uint64_t epoch,
                              const store::BlobFarm& farm, const Clock& clock) {
  TS_RETURN_IF_ERROR(CheckEmpty(store));
  TS_RETURN_IF_ERROR(store.Prepare());
  Rebuilt rebuilt;
  rebuilt.ignored = farm.ignored;
  uint64_t token = 0;
  for (const store::BlobJob& job : farm.jobs) token = std::max(token, job.last_token);
  token += kTokenGap;
  for (const store::BlobJob& job : farm.jobs) {
    TS_RETURN_IF_ERROR(store.Lead(name, kLeadMs, epoch).status());
    TS_ASSIGN_OR_RETURN(const uint64_t count, Count(job));
    TS_RETURN_IF_ERROR(WriteJob(store, epoch, ++token, job, count, clock.UnixMs()));
    ++rebuilt.jobs;
    rebuilt.cancelled += job.cancelled_ms != 0;
    rebuilt.variants += count;
    for (const v1::VariantRange& range : job.stored) rebuilt.committed += range.count();
  }
  return rebuilt;
}

}  // namespace

absl::StatusOr<Rebuilt> Rebuild(store::FarmStore& store, store::BlobStore& blobs,
                                const std::string& name, const Clock& clock) {
  TS_RETURN_IF_ERROR(store.CheckServer());
  TS_RETURN_IF_ERROR(CheckEmpty(store));
  TS_ASSIGN_OR_RETURN(const store::BlobFarm farm, store::ReadFarm(blobs));
  for (const store::BlobJob& job : farm.jobs) TS_RETURN_IF_ERROR(Count(job).status());
  const auto epoch = store.Lead(name, kLeadMs, 0);
  if (!epoch.ok()) return Annotate(epoch.status(), "stop every scheduler of this Redis first");
  auto rebuilt = Write(store, name, *epoch, farm, clock);
  store.Resign(name, *epoch).IgnoreError();
  if (rebuilt.ok()) return rebuilt;
  return Annotate(rebuilt.status(),
                  "the rebuilding broke off; empty this Redis (FLUSHDB) and start it again");
}

}  // namespace tiltshift::scheduler
