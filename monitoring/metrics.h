// Metrics behind one door: what the processes count and time. Names follow Prometheus' conventions
// (base units, _total on counters). Labels have few values, and those are known beforehand, but for
// models and tenants, of which the first few have series of their own. docs/metrics.md lists all.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

#include "base/status.h"
#include "monitoring/series.h"

namespace tiltshift::monitoring {

// The first kMostNames names are themselves, later ones "other": jobs may name what they like, and
// series must stay few. Any thread.
class BoundedNames {
 public:
  static constexpr size_t kMostNames = 40;
  std::string Of(const std::string& name);

 private:
  std::mutex mutex_;
  std::set<std::string> names_;
};

// Calls of the blob store, of scheduler and worker alike. Any thread.
class BlobMetrics {
 public:
  explicit BlobMetrics(Registry& registry);
  // `operation`: put, get, exists, list or delete. A blob that is not there is no failure.
  void Observe(std::string_view operation, double seconds, const absl::Status& status);

 private:
  struct Series {
    Histogram seconds;
    Counter failures;
  };
  std::map<std::string, Series, std::less<>> series_;
};

struct SchedulerMetrics {
  explicit SchedulerMetrics(Registry& registry);
  Counter variants_committed, variants_failed, variants_retried, variants_quarantined;
  Counter leases_granted, leases_expired, leases_stolen;
  Counter workers_benched;
  Gauge leases_active, queue_variants, workers_connected, leader, epoch;
  Gauge oldest_waiting_seconds;
  Gauge workers_idle, workers_busy, workers_draining, workers_on_bench;
  Counter photos_taken, photos_destroyed;
  Gauge photos_kept;
  Gauge jobs_queued, jobs_running, jobs_paused, jobs_done, jobs_failed, jobs_cancelled;
  Histogram turn_seconds;
  // Calls from their arrival to their end: for a stream, all of its life.
  Histogram submit_seconds, append_entries_seconds, list_entries_seconds;
  Histogram get_job_seconds, list_jobs_seconds, watch_job_seconds;
  Histogram cancel_job_seconds, pause_job_seconds, resume_job_seconds, retry_failed_seconds;
  Histogram set_priority_seconds, explain_seconds;
  Histogram read_outputs_seconds, list_variants_seconds, read_picture_seconds;
  Histogram list_workers_seconds, session_seconds;
  Histogram upload_photo_seconds, open_photo_seconds, forget_seconds, list_receipts_seconds;
  BlobMetrics blobs;

  // Of round trips in which Redis ran this function of the farm's library; what is none of them
  // (plain commands) is one series, "other".
  Histogram RedisSeconds(std::string_view function) const;

  // What workers told of the variants that they committed.
  struct Renders {
    Counter images, render_seconds;
    Counter encode, denoise, decode, finish, store;  // seconds
  };
  // What is still to do, in seconds of one worker.
  struct Queue {
    Gauge waiting_seconds;    // with nobody
    Gauge remaining_seconds;  // not committed: with workers, too
  };
  // Of a model on a kind of device. Made at the first call; one thread.
  const Renders& RendersOf(const std::string& model, const std::string& device);
  const Queue& QueueOf(const std::string& model, const std::string& device);
  // Every Queue there is: for who sets them all.
  const std::map<Labels, Queue>& queues() const { return queues_; }
  // Seconds that a tenant's variants were rendered for.
  const Counter& TenantSeconds(const std::string& tenant);

 private:
  Registry& registry_;
  BoundedNames models_, tenant_names_;
  std::map<std::string, Histogram, std::less<>> redis_seconds_;
  std::map<Labels, Renders> renders_;
  std::map<Labels, Queue> queues_;
  std::map<std::string, Counter> tenants_;
};

struct WorkerMetrics {
  // `device`: the kind that all of this worker's slots render on.
  explicit WorkerMetrics(Registry& registry, std::string device = "cpu");
  Counter steps_begun, steps_resumed, renders_stopped;
  Gauge slots, slots_busy, images_per_second, connected;
  BlobMetrics blobs;

  struct OfModel {
    Counter images_rendered;
    Histogram encode_seconds, denoise_seconds, decode_seconds, finish_seconds, store_seconds;
  };
  // Any thread; what it gives stays where it is.
  const OfModel& Of(const std::string& model);
  // Of variants that could not be rendered, by what kind of failure it was.
  Counter Failures(absl::StatusCode why) const;

 private:
  Registry& registry_;
  const std::string device_;
  BoundedNames models_;
  std::map<absl::StatusCode, Counter> failures_;
  std::mutex mutex_;
  std::map<std::string, OfModel> of_model_;
};

}  // namespace tiltshift::monitoring
