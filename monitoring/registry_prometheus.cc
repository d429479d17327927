// The registry by prometheus-cpp.
#include <prometheus/counter.h>
#include <prometheus/exposer.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <exception>

#include "monitoring/registry.h"
#include "monitoring/series.h"

namespace tiltshift::monitoring {
namespace {

prometheus::Labels Map(const Labels& labels) { return {labels.begin(), labels.end()}; }

}  // namespace

void Counter::Add(double by) const { static_cast<prometheus::Counter*>(impl)->Increment(by); }
void Gauge::Set(double value) const { static_cast<prometheus::Gauge*>(impl)->Set(value); }
void Gauge::Add(double by) const { static_cast<prometheus::Gauge*>(impl)->Increment(by); }
void Histogram::Observe(double seconds) const {
  if (impl == nullptr) return;
  static_cast<prometheus::Histogram*>(impl)->Observe(seconds);
}

struct Registry::Impl {
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  std::unique_ptr<prometheus::Exposer> exposer;
};

Registry::Registry() : impl_(std::make_unique<Impl>()) {}
Registry::~Registry() = default;

Counter Registry::AddCounter(const std::string& name, const std::string& help,
                             const Labels& labels) {
  auto& family = prometheus::BuildCounter().Name(name).Help(help).Register(*impl_->registry);
  return {&family.Add(Map(labels))};
}

Gauge Registry::AddGauge(const std::string& name, const std::string& help, const Labels& labels) {
  auto& family = prometheus::BuildGauge().Name(name).Help(help).Register(*impl_->registry);
  return {&family.Add(Map(labels))};
}

Histogram Registry::AddHistogram(const std::string& name, const std::string& help,
                                 const Labels& labels) {
  auto& family = prometheus::BuildHistogram().Name(name).Help(help).Register(*impl_->registry);
  return {&family.Add(Map(labels),
                      prometheus::Histogram::BucketBoundaries(kSeconds.begin(), kSeconds.end()))};
}

absl::Status Registry::Serve(const std::string& address) {
  try {
    impl_->exposer = std::make_unique<prometheus::Exposer>(address, 1);
    impl_->exposer->RegisterCollectable(impl_->registry);
    return absl::OkStatus();
  } catch (const std::exception& error) {
    return CannotServe(address, error.what());
  }
}

}  // namespace tiltshift::monitoring
