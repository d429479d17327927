#include "scheduler/photo_warden.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <future>
#include <memory>
#include <set>

#include "plan/entries.h"
#include "plan/limits.h"
#include "scheduler/blob_threads.h"

namespace tiltshift::scheduler {
namespace {

constexpr int kLookMs = 200;
constexpr int kAfterTroubleMs = 1'000;
constexpr int64_t kListAgainMs = 600'000;        // what a former leader may have stored late
constexpr int64_t kUnusedMs = 24 * 3'600'000LL;  // a photo without a job
constexpr int kDestroyers = 4;

}  // namespace

void PhotoWarden::Start() {
  thread_ = std::thread([this] { Run(); });
}

void PhotoWarden::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool PhotoWarden::Wait(int ms) {
  std::unique_lock lock(mutex_);
  return !wake_.wait_for(lock, std::chrono::milliseconds(ms), [this] { return stopping_; });
}

void PhotoWarden::Run() {
  for (int wait_ms = 0; Wait(wait_ms);) {
    const absl::Status looked = Look();
    wait_ms = looked.ok() ? kLookMs : kAfterTroubleMs;
    const std::string said = looked.ok() ? "" : Message(looked);
    if (!said.empty() && said != said_) spdlog::warn("photos: {}; trying again", said);
    said_ = said;
  }
}

absl::Status PhotoWarden::Look() {
  if (!loop_.Leading().ok()) {
    vault_.Unload();
    looked_at_.clear();
    return absl::OkStatus();
  }
  const int64_t now_ms = clock_.SteadyMs();
  if (!vault_.loaded() || now_ms - listed_ms_ > kListAgainMs) {
    TS_RETURN_IF_ERROR(vault_.Load());
    listed_ms_ = now_ms;
  }
  std::map<std::string, Photos> by_job;
  for (KeptPhoto& photo : vault_.Kept()) by_job[photo.job_id].push_back(std::move(photo));
  for (const auto& [job_id, photos] : by_job) LookAtJob(job_id, photos);
  std::erase_if(looked_at_, [&](const auto& job) { return !by_job.contains(job.first); });
  return absl::OkStatus();
}

void PhotoWarden::LookAtJob(const std::string& job_id, const Photos& photos) {
  const auto job = loop_.FindJob(job_id);
  if (!job.ok() && !absl::IsNotFound(job.status()) && !job_id.empty()) return;
  const v1::Job* known = job.ok() ? job->get() : nullptr;
  int64_t time_ms = kUnusedMs;
  if (known != nullptr) {
    const int64_t own = known->spec().photo_ttl_seconds();
    time_ms = 1000 * (own > 0 ? own : plan::kUsualPhotoTtlSeconds);
  }
  Photos begun, late, kept;
  for (const KeptPhoto& photo : photos) {
    const bool is_late = clock_.UnixMs() - photo.uploaded_ms > time_ms;
    (photo.ending ? begun : is_late ? late : kept).push_back(photo);
  }
  // What fails stays, and is tried again at the next look.
  Destroy(begun, known, "").IgnoreError();
  Destroy(late, known, known != nullptr ? "its time was up" : "no job used it within a day")
      .IgnoreError();
  if (known == nullptr || kept.empty()) return;
  if (known->ended_unix_ms() != 0) {
    const bool cancelled = known->state() == v1::JOB_STATE_CANCELLED;
    Destroy(kept, known, cancelled ? "its job was cancelled" : "its entry has ended").IgnoreError();
    return;
  }
  const std::pair<uint64_t, size_t> now{known->committed() + known->failed(), kept.size()};
  if (looked_at_[job_id] == now) return;
  const absl::Status looked = LookAtEntries(*known, kept);
  if (looked.ok()) {
    looked_at_[job_id] = now;
  } else {
    spdlog::warn("photos of job {}: {}; trying again", job_id, Message(looked));
  }
}

absl::Status PhotoWarden::LookAtEntries(const v1::Job& job, const Photos& photos) {
  if (!job.spec().has_contest()) return absl::OkStatus();  // of a campaign: with the job
  TS_ASSIGN_OR_RETURN(const PhotoRows::Rows rows, rows_.Of(job));
  std::set<std::string> kept;
  for (const KeptPhoto& photo : photos) kept.insert(photo.id);
  uint64_t first = job.variants(), end = 0;
  const uint64_t each = job.variants() / std::max<uint64_t>(1, plan::EntryCount(job.spec()));
  for (const PhotoRow& row : *rows) {
    if (!kept.contains(row.photo_id)) continue;
    first = std::min(first, row.entry * each);
    end = std::max(end, (row.entry + 1) * each);
  }
  if (first >= end || end > job.variants()) return absl::OkStatus();
  v1::VariantRange range;
  range.set_first(first);
  range.set_count(end - first);
  std::promise<absl::StatusOr<store::FarmStore::Progress>> answer;
  loop_.FindProgress(job.id(), range, [&](auto found) { answer.set_value(std::move(found)); });
  TS_ASSIGN_OR_RETURN(const auto progress, answer.get_future().get());
  for (const PhotoRow& row : *rows) {
    if (!kept.contains(row.photo_id)) continue;
    for (uint64_t i = row.entry * each; i < (row.entry + 1) * each; ++i) {
      if (!progress.committed[i - first] && !progress.failed[i - first]) kept.erase(row.photo_id);
    }
  }
  Photos ended;
  for (const KeptPhoto& photo : photos) {
    if (kept.contains(photo.id)) ended.push_back(photo);
  }
  return Destroy(ended, &job, "its entry has ended");
}

absl::Status PhotoWarden::Destroy(const Photos& photos, const v1::Job* job,
                                  const std::string& why) {
  if (photos.empty()) return absl::OkStatus();
  std::mutex mutex;
  absl::Status all;
  std::map<std::string, std::vector<std::string>> entries;  // by photo
  if (job != nullptr) {
    const auto rows = rows_.Of(*job);
    for (const PhotoRow& row : rows.ok() ? **rows : std::vector<PhotoRow>())
      if (!row.entry_id.empty()) entries[row.photo_id].push_back(row.entry_id);
  }
  auto threads =
      std::make_unique<BlobThreads>(std::min(kDestroyers, static_cast<int>(photos.size())));
  for (const KeptPhoto& photo : photos) {
    v1::PhotoEnding ending;
    ending.set_why(why);
    ending.set_job_id(photo.job_id);
    for (const std::string& entry : entries[photo.id]) ending.add_entry_ids(entry);
    threads->Run([&, id = photo.id, ending] {
      const auto destroyed = vault_.Destroy(id, ending);
      if (destroyed.ok()) return;
      spdlog::warn("photo {} is not destroyed yet: {}", id, Message(destroyed.status()));
      std::lock_guard lock(mutex);
      all = destroyed.status();
    });
  }
  threads.reset();  // waits
  return all;
}

}  // namespace tiltshift::scheduler
