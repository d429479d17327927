// The registry by prometheus-cpp.
#include <prometheus/counter.h>
#include <prometheus/exposer.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <exception>

#include "monitoring/metrics.h"
#include "monitoring/registry.h"

namespace tiltshift::monitoring {
namespace {

prometheus::Labels Labels(const std::string& label, const std::string& value) {
  return label.empty() ? prometheus::Labels{} : prometheus::Labels{{label, value}};
}

}  // namespace

void Counter::Add(double by) { static_cast<prometheus::Counter*>(impl)->Increment(by); }
void Gauge::Set(double value) { static_cast<prometheus::Gauge*>(impl)->Set(value); }
void Gauge::Add(double by) { static_cast<prometheus::Gauge*>(impl)->Increment(by); }
void Histogram::Observe(double seconds) {
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
                             const std::string& label, const std::string& value) {
  auto& family = prometheus::BuildCounter().Name(name).Help(help).Register(*impl_->registry);
  return {&family.Add(Labels(label, value))};
}

Gauge Registry::AddGauge(const std::string& name, const std::string& help, const std::string& label,
                         const std::string& value) {
  auto& family = prometheus::BuildGauge().Name(name).Help(help).Register(*impl_->registry);
  return {&family.Add(Labels(label, value))};
}

Histogram Registry::AddHistogram(const std::string& name, const std::string& help,
                                 const std::string& label, const std::string& value) {
  auto& family = prometheus::BuildHistogram().Name(name).Help(help).Register(*impl_->registry);
  return {&family.Add(Labels(label, value),
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
