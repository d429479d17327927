// Metrics behind one door: what the processes count and time, served as Prometheus text on
// /metrics. Names follow Prometheus' conventions (base units, _total on counters); labels are few
// and fixed. docs/metrics.md lists them.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tiltshift::monitoring {

// Handles into a Registry, valid as long as it lives. Safe from any thread.
class Counter {
 public:
  void Add(double by = 1);
  void* impl = nullptr;
};
class Gauge {
 public:
  void Set(double value);
  void Add(double by);
  void* impl = nullptr;
};
class Histogram {  // one of no registry observes nothing
 public:
  void Observe(double seconds);
  void* impl = nullptr;
};

// Observes, when it goes, for how long it was there.
class Timer {
 public:
  explicit Timer(Histogram histogram) : histogram_(histogram) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { histogram_.Observe(std::chrono::duration<double>(Clock::now() - start_).count()); }

 private:
  using Clock = std::chrono::steady_clock;
  Histogram histogram_;
  const Clock::time_point start_ = Clock::now();
};

class Registry {
 public:
  Registry();
  ~Registry();

  Counter AddCounter(const std::string& name, const std::string& help,
                     const std::string& label = "", const std::string& value = "");
  Gauge AddGauge(const std::string& name, const std::string& help, const std::string& label = "",
                 const std::string& value = "");
  // Buckets from 0.1 ms to 100 s.
  Histogram AddHistogram(const std::string& name, const std::string& help,
                         const std::string& label = "", const std::string& value = "");

  // Serves /metrics on "host:port" until the Registry goes. Unavailable where the port is taken.
  absl::Status Serve(const std::string& address);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct SchedulerMetrics {
  explicit SchedulerMetrics(Registry& registry);
  Counter variants_committed, variants_failed, variants_retried;
  Counter leases_granted, leases_expired, leases_stolen;
  Counter workers_benched;
  Gauge leases_active, queue_variants, workers_connected, leader;
  Counter photos_taken, photos_destroyed;
  Gauge photos_kept;
  Gauge jobs_queued, jobs_running, jobs_paused, jobs_done, jobs_failed, jobs_cancelled;
  Histogram turn_seconds;
  // Calls from their arrival to their end: for a stream, all of its life.
  Histogram submit_seconds, append_entries_seconds, list_entries_seconds;
  Histogram get_job_seconds, list_jobs_seconds, watch_job_seconds;
  Histogram cancel_job_seconds, pause_job_seconds, resume_job_seconds, retry_failed_seconds;
  Histogram set_priority_seconds, explain_seconds;
  Histogram read_outputs_seconds, list_workers_seconds, session_seconds;
  Histogram upload_photo_seconds, open_photo_seconds, forget_seconds, list_receipts_seconds;

  // Of round trips in which Redis ran this function of the farm's library; what is none of them
  // (plain commands) is one series, "other".
  Histogram RedisSeconds(std::string_view function) const;

 private:
  std::map<std::string, Histogram, std::less<>> redis_seconds_;
};

struct WorkerMetrics {
  explicit WorkerMetrics(Registry& registry);
  Counter images_rendered, render_failures;
  Counter steps_begun, steps_resumed, renders_stopped;
  Gauge slots_busy, images_per_second;
  Histogram encode_seconds, denoise_seconds, decode_seconds, finish_seconds, store_seconds;
};

}  // namespace tiltshift::monitoring
