// Counters, gauges and histograms, served as Prometheus text on /metrics. What there is of them is
// in metrics.h.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"

namespace tiltshift::monitoring {

// Handles into a Registry, valid as long as it lives. Safe from any thread.
class Counter {
 public:
  void Add(double by = 1) const;
  void* impl = nullptr;
};
class Gauge {
 public:
  void Set(double value) const;
  void Add(double by) const;
  void* impl = nullptr;
};
class Histogram {  // one of no registry observes nothing
 public:
  void Observe(double seconds) const;
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

// Names and values, in this order.
using Labels = std::vector<std::pair<std::string, std::string>>;

class Registry {
 public:
  Registry();
  ~Registry();

  // A series of its own for each set of labels; of one family, all have the same names. Any thread.
  Counter AddCounter(const std::string& name, const std::string& help, const Labels& labels = {});
  Gauge AddGauge(const std::string& name, const std::string& help, const Labels& labels = {});
  // Buckets from 0.1 ms to 100 s.
  Histogram AddHistogram(const std::string& name, const std::string& help,
                         const Labels& labels = {});

  // Serves /metrics on "host:port" until the Registry goes. Unavailable where the port is taken.
  absl::Status Serve(const std::string& address);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tiltshift::monitoring
