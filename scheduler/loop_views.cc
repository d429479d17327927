// What a FarmLoop shows: jobs and workers as of the last round, its health, its metrics.
#include <spdlog/spdlog.h>

#include <utility>

#include "scheduler/farm_loop.h"
#include "scheduler/message_checks.h"
#include "scheduler/queue_text.h"

namespace tiltshift::scheduler {
namespace {

constexpr int64_t kPublishEveryMs = 100;
constexpr int64_t kLookEveryMs = 500;
constexpr int64_t kKeepQueueEveryMs = 2'000;
constexpr int kQueueLivesMs = 10'000;
constexpr int64_t kTellEveryMs = 100;
constexpr int64_t kTellAllEveryMs = 500;

}  // namespace

void FarmLoop::Publish(int64_t now_ms) {
  const auto changed = farm_->TakeChanged();
  to_watch_.insert(changed.begin(), changed.end());
  {
    std::lock_guard lock(mutex_);
    for (const std::string& id : changed) {
      auto& view = views_[id];
      if (view != nullptr) CountView(*view, -1);
      view = farm_->View(id, now_ms, /*with_spec=*/true);
      CountView(*view, 1);
    }
    const auto& ids = farm_->JobIds();
    if (std::exchange(reordered_, false) || view_order_.size() != ids.size()) view_order_ = ids;
  }
  PublishWorkers(now_ms);
  TellWatchers(now_ms);
}

// What takes a look at every worker and every job: a few times a second.
void FarmLoop::PublishWorkers(int64_t now_ms) {
  if (now_ms - published_ms_ < kPublishEveryMs) return;
  published_ms_ = now_ms;
  auto workers = farm_->Workers(now_ms);
  {
    std::lock_guard lock(mutex_);
    workers_.swap(workers);
  }
  const Farm::Counts counts = farm_->counts(now_ms);
  metrics_.queue_variants.Set(counts.pending);
  metrics_.leases_active.Set(counts.leases);
  metrics_.workers_connected.Set(counts.workers);
  metrics_.leases_granted.Add(counts.granted - counted_.granted);
  metrics_.leases_expired.Add(counts.expired - counted_.expired);
  metrics_.variants_retried.Add(counts.retried - counted_.retried);
  metrics_.leases_stolen.Add(counts.stolen - counted_.stolen);
  metrics_.workers_benched.Add(counts.benched - counted_.benched);
  metrics_.variants_quarantined.Add(counts.quarantined - counted_.quarantined);
  metrics_.workers_idle.Set(counts.idle);
  metrics_.workers_busy.Set(counts.busy);
  metrics_.workers_draining.Set(counts.draining);
  metrics_.workers_on_bench.Set(counts.on_bench);
  counted_ = counts;
  CountRenders();
  PublishQueue(now_ms);
}

void FarmLoop::CountRenders() {
  farm_->TakeRenders([&](const v1::JobSpec& spec, const char* device, const Farm::Renders& done) {
    const auto& counters = metrics_.RendersOf(spec.model(), device);
    counters.images.Add(static_cast<double>(done.images));
    counters.render_seconds.Add(done.seconds);
    counters.encode.Add(done.stages.encode());
    counters.denoise.Add(done.stages.denoise());
    counters.decode.Add(done.stages.decode());
    counters.finish.Add(done.stages.finish());
    counters.store.Add(done.stages.store());
    metrics_.TenantSeconds(spec.tenant()).Add(done.seconds);
  });
}

void FarmLoop::PublishQueue(int64_t now_ms) {
  if (now_ms - looked_ms_ < kLookEveryMs) return;
  looked_ms_ = now_ms;
  Farm::Queue queue = farm_->LookAtQueue(now_ms);
  ShowQueue(queue);
  if (now_ms - kept_queue_ms_ >= kKeepQueueEveryMs && !in_trouble_) {
    kept_queue_ms_ = now_ms;
    store_->KeepQueue(TextOf(queue), kQueueLivesMs).IgnoreError();  // comes again
    if (!gallery_.empty()) store_->KeepGallery(gallery_, kQueueLivesMs).IgnoreError();
  }
  std::lock_guard lock(mutex_);
  queue_ = std::move(queue);
}

// Gauges whose model has nothing to do any more go to 0; several models may share one.
void FarmLoop::ShowQueue(const Farm::Queue& queue) {
  metrics_.oldest_waiting_seconds.Set(queue.oldest_waiting_seconds);
  for (const auto& [labels, gauges] : metrics_.queues()) {
    gauges.waiting_seconds.Set(0);
    gauges.remaining_seconds.Set(0);
  }
  for (const Farm::Load& load : queue.loads) {
    const auto& gauges = metrics_.QueueOf(load.model, load.device);
    gauges.waiting_seconds.Add(load.waiting_seconds);
    gauges.remaining_seconds.Add(load.remaining_seconds);
  }
}

absl::StatusOr<Farm::Queue> FarmLoop::Queue() const {
  std::lock_guard lock(mutex_);
  if (!queue_.has_value()) return health_.ok() ? NotLeading("nothing is known yet", "") : health_;
  return *queue_;
}

std::optional<std::string> FarmLoop::GalleryOfLeader() const {
  std::lock_guard lock(mutex_);
  if (leading_) return std::nullopt;
  return leader_gallery_;
}

void FarmLoop::CountView(const v1::Job& job, int by) {
  switch (job.state()) {
    case v1::JOB_STATE_PAUSED:
      return metrics_.jobs_paused.Add(by);
    case v1::JOB_STATE_RUNNING:
      return metrics_.jobs_running.Add(by);
    case v1::JOB_STATE_DONE:
      return metrics_.jobs_done.Add(by);
    case v1::JOB_STATE_FAILED:
      return metrics_.jobs_failed.Add(by);
    case v1::JOB_STATE_CANCELLED:
      return metrics_.jobs_cancelled.Add(by);
    default:
      return metrics_.jobs_queued.Add(by);
  }
}

void FarmLoop::TellWatchers(int64_t now_ms) {
  if (now_ms - told_ms_ < kTellEveryMs) return;
  told_ms_ = now_ms;
  const bool all =
      now_ms - told_all_ms_ >= kTellAllEveryMs;  // both sides then know that the other lives
  if (all) told_all_ms_ = now_ms;
  for (auto watcher = watchers_.begin(); watcher != watchers_.end();) {
    const bool due = all || to_watch_.count(watcher->first) != 0;
    const auto view = due ? Job(watcher->first) : nullptr;
    const bool stays = !due || (watcher->second.see(*view) && view->ended_unix_ms() == 0);
    watcher = stays ? std::next(watcher) : watchers_.erase(watcher);
  }
  to_watch_.clear();
}

// While Redis is away nothing new is durable; what can be said is why. Gone with the next view of
// each job.
void FarmLoop::ShowTrouble(const absl::Status& trouble) {
  if (!std::exchange(in_trouble_, true)) spdlog::warn("{}", Message(trouble));
  const auto in_trouble = [&](const v1::Job& job) {
    auto view = std::make_shared<v1::Job>(job);
    view->set_trouble(Message(trouble));
    return view;
  };
  {
    std::lock_guard lock(mutex_);
    health_ = trouble;
    for (auto& [id, view] : views_) {
      if (view->ended_unix_ms() == 0 && view->trouble() != Message(trouble))
        view = in_trouble(*view);
    }
  }
  TellWatchers(clock_.UnixMs());
}

void FarmLoop::EndTrouble() {
  if (!std::exchange(in_trouble_, false)) return;
  spdlog::info("Redis is back");
  farm_->TouchActive();
  std::lock_guard lock(mutex_);
  health_ = absl::OkStatus();
}

JobView FarmLoop::Job(const std::string& id) const {
  std::lock_guard lock(mutex_);
  const auto found = views_.find(id);
  return found == views_.end() ? nullptr : found->second;
}

absl::StatusOr<JobView> FarmLoop::FindJob(const std::string& id) const {
  std::lock_guard lock(mutex_);
  if (!leading_) return health_;
  const auto found = views_.find(id);
  if (found == views_.end()) return NoSuchJob(id);
  return found->second;
}

absl::StatusOr<std::vector<JobView>> FarmLoop::NewestJobs(size_t limit,
                                                          const std::string& tenant) const {
  std::lock_guard lock(mutex_);
  if (!leading_) return health_;
  std::vector<JobView> jobs;
  for (auto id = view_order_.rbegin(); id != view_order_.rend() && jobs.size() < limit; ++id) {
    const JobView& job = views_.at(*id);
    if (tenant.empty() || job->spec().tenant() == tenant) jobs.push_back(job);
  }
  return jobs;
}

absl::StatusOr<std::vector<v1::WorkerInfo>> FarmLoop::Workers() const {
  std::lock_guard lock(mutex_);
  if (!leading_) return health_;
  return workers_;
}

absl::Status FarmLoop::Health() const {
  std::lock_guard lock(mutex_);
  return health_;
}

}  // namespace tiltshift::scheduler
