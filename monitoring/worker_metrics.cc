#include <utility>

#include "absl/strings/ascii.h"
#include "monitoring/metrics.h"

namespace tiltshift::monitoring {
namespace {

// What a render ends with; whatever else is Unknown.
constexpr absl::StatusCode kWhy[] = {absl::StatusCode::kInvalidArgument,
                                     absl::StatusCode::kNotFound,
                                     absl::StatusCode::kPermissionDenied,
                                     absl::StatusCode::kResourceExhausted,
                                     absl::StatusCode::kDataLoss,
                                     absl::StatusCode::kInternal,
                                     absl::StatusCode::kAborted,
                                     absl::StatusCode::kUnavailable,
                                     absl::StatusCode::kFailedPrecondition,
                                     absl::StatusCode::kUnknown};

}  // namespace

WorkerMetrics::WorkerMetrics(Registry& r, std::string device)
    : steps_begun(r.AddCounter("tiltshift_steps_begun_total", "Denoising steps begun here")),
      steps_resumed(
          r.AddCounter("tiltshift_steps_resumed_total",
                       "Denoising steps that other workers had made of images rendered here")),
      renders_stopped(r.AddCounter("tiltshift_renders_stopped_total",
                                   "Renders stopped between two steps for another worker")),
      slots(r.AddGauge("tiltshift_slots", "Variants that it renders at once")),
      slots_busy(r.AddGauge("tiltshift_slots_busy", "Slots that render now")),
      images_per_second(r.AddGauge("tiltshift_images_per_second",
                                   "Images stored a second, over the last minute")),
      connected(r.AddGauge("tiltshift_connected", "1 while a scheduler has welcomed this worker")),
      blobs(r),
      registry_(r),
      device_(std::move(device)) {
  for (const absl::StatusCode why : kWhy)
    failures_[why] =
        r.AddCounter("tiltshift_render_failures_total",
                     "Variants that could not be rendered, by the status they ended in",
                     {{"why", absl::AsciiStrToLower(absl::StatusCodeToString(why))}});
}

Counter WorkerMetrics::Failures(absl::StatusCode why) const {
  const auto found = failures_.find(why);
  return found != failures_.end() ? found->second : failures_.at(absl::StatusCode::kUnknown);
}

const WorkerMetrics::OfModel& WorkerMetrics::Of(const std::string& model) {
  const Labels labels = {{"device", device_}, {"model", models_.Of(model)}};
  std::lock_guard lock(mutex_);
  const auto [found, is_new] = of_model_.try_emplace(labels[1].second);
  if (!is_new) return found->second;
  const auto stage = [&](const char* name) {
    Labels all = labels;
    all.emplace_back("stage", name);
    return registry_.AddHistogram("tiltshift_render_seconds", "Time of a variant by stage", all);
  };
  found->second = {
      registry_.AddCounter("tiltshift_images_rendered_total", "Images rendered and stored", labels),
      stage("encode"),
      stage("denoise"),
      stage("decode"),
      stage("finish"),
      stage("store")};
  return found->second;
}

}  // namespace tiltshift::monitoring
