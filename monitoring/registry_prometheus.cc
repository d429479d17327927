// The registry by prometheus-cpp.
#include <prometheus/counter.h>
#include <prometheus/exposer.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <exception>

#include "monitoring/metrics.h"

namespace tiltshift::monitoring {
namespace {

const prometheus::Histogram::BucketBoundaries kSeconds = {
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1,
    0.2,    0.5,    1,      2,     5,     10,    20,   50,   100};

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
  return {&family.Add(Labels(label, value), kSeconds)};
}

absl::Status Registry::Serve(const std::string& address) {
  try {
    impl_->exposer = std::make_unique<prometheus::Exposer>(address, 1);
    impl_->exposer->RegisterCollectable(impl_->registry);
    return absl::OkStatus();
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat("cannot serve metrics on ", address, ": ",
                                               error.what(),
                                               "; choose another port with --metrics"));
  }
}

}  // namespace tiltshift::monitoring
