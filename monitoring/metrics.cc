#include "monitoring/metrics.h"

namespace tiltshift::monitoring {
namespace {

constexpr char kOther[] = "other";

}  // namespace

std::string BoundedNames::Of(const std::string& name) {
  std::lock_guard lock(mutex_);
  if (names_.count(name) != 0) return name;
  if (names_.size() >= kMostNames) return kOther;
  return *names_.insert(name).first;
}

BlobMetrics::BlobMetrics(Registry& r) {
  for (const char* operation : {"put", "get", "exists", "list", "delete"}) {
    const Labels labels = {{"operation", operation}};
    series_[operation] = {
        r.AddHistogram("tiltshift_blob_seconds", "Calls of the blob store", labels),
        r.AddCounter("tiltshift_blob_failures_total", "Of those, the ones that failed", labels)};
  }
}

void BlobMetrics::Observe(std::string_view operation, double seconds, const absl::Status& status) {
  const auto found = series_.find(operation);
  if (found == series_.end()) return;
  found->second.seconds.Observe(seconds);
  if (!status.ok() && !absl::IsNotFound(status)) found->second.failures.Add();
}

}  // namespace tiltshift::monitoring
