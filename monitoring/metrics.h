// Metrics behind one door: what the processes count and time, served as Prometheus text on
// /metrics. Names follow Prometheus' conventions (base units, _total on counters); labels are few
// and fixed. docs/metrics.md lists them.
#pragma once

#include <memory>
#include <string>

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
class Histogram {
 public:
  void Observe(double seconds);
  void* impl = nullptr;
};

class Registry {
 public:
  Registry();
  ~Registry();

  Counter AddCounter(const std::string& name, const std::string& help,
                     const std::string& label = "", const std::string& value = "");
  Gauge AddGauge(const std::string& name, const std::string& help);
  // Buckets from 1 ms to 100 s.
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
  Counter leases_granted, leases_expired;
  Gauge leases_active, queue_variants, workers_connected, leader;
  Histogram turn_seconds, redis_seconds;
  Histogram submit_seconds, get_seconds;
};

struct WorkerMetrics {
  explicit WorkerMetrics(Registry& registry);
  Counter images_rendered, render_failures;
  Gauge slots_busy, images_per_second;
  Histogram encode_seconds, denoise_seconds, decode_seconds, finish_seconds, store_seconds;
};

}  // namespace tiltshift::monitoring
