#include "monitoring/metrics.h"

namespace tiltshift::monitoring {
namespace {

constexpr char kOther[] = "other";
constexpr const char* kRedisFunctions[] = {"ts_lead",      "ts_resign", "ts_submit", "ts_append",
                                           "ts_turns",     "ts_cancel", "ts_set",    "ts_retry",
                                           "ts_put_token", kOther};

Gauge Jobs(Registry& r, const char* state) {
  return r.AddGauge("tiltshift_jobs", "Jobs by state", {{"state", state}});
}

Gauge Workers(Registry& r, const char* state) {
  return r.AddGauge("tiltshift_workers", "Workers with an open session, by what they do",
                    {{"state", state}});
}

Histogram Calls(Registry& r, const char* method) {
  return r.AddHistogram("tiltshift_grpc_seconds", "Calls by method, streams from start to end",
                        {{"method", method}});
}

}  // namespace

SchedulerMetrics::SchedulerMetrics(Registry& r)
    : variants_committed(r.AddCounter("tiltshift_variants_committed_total", "Variants committed")),
      variants_failed(r.AddCounter("tiltshift_variants_failed_total", "Variants failed for good")),
      variants_retried(
          r.AddCounter("tiltshift_variants_retried_total", "Failed attempts that are tried again")),
      variants_quarantined(r.AddCounter("tiltshift_variants_quarantined_total",
                                        "Variants given up: worker after worker was lost over it")),
      leases_granted(r.AddCounter("tiltshift_leases_granted_total", "Leases given to workers")),
      leases_expired(
          r.AddCounter("tiltshift_leases_expired_total", "Leases whose worker fell silent")),
      leases_stolen(r.AddCounter("tiltshift_leases_stolen_total",
                                 "Ends of leases that an idle worker took over")),
      workers_benched(r.AddCounter(
          "tiltshift_workers_benched_total",
          "Times a worker was given nothing for a while: it failed what others rendered")),
      leases_active(r.AddGauge("tiltshift_leases_active", "Leases held by workers now")),
      queue_variants(r.AddGauge("tiltshift_queue_variants", "Variants waiting for a worker")),
      workers_connected(r.AddGauge("tiltshift_workers_connected", "Workers with an open session")),
      leader(r.AddGauge("tiltshift_leader", "1 where this scheduler leads the farm")),
      epoch(r.AddGauge("tiltshift_epoch", "The leadership that it leads in; 0 where it stands by")),
      oldest_waiting_seconds(r.AddGauge(
          "tiltshift_oldest_waiting_seconds",
          "Age of the variant that has waited longest for a worker, paused jobs left out")),
      workers_idle(Workers(r, "idle")),
      workers_busy(Workers(r, "busy")),
      workers_draining(Workers(r, "draining")),
      workers_on_bench(Workers(r, "benched")),
      photos_taken(r.AddCounter("tiltshift_photos_taken_total", "Photos sealed and stored")),
      photos_destroyed(r.AddCounter("tiltshift_photos_destroyed_total",
                                    "Photos whose key and bytes were destroyed")),
      photos_kept(r.AddGauge("tiltshift_photos_kept", "Photos that can still be opened")),
      jobs_queued(Jobs(r, "queued")),
      jobs_running(Jobs(r, "running")),
      jobs_paused(Jobs(r, "paused")),
      jobs_done(Jobs(r, "done")),
      jobs_failed(Jobs(r, "failed")),
      jobs_cancelled(Jobs(r, "cancelled")),
      turn_seconds(
          r.AddHistogram("tiltshift_turn_seconds", "From a worker's turn to its acknowledgement")),
      submit_seconds(Calls(r, "Submit")),
      append_entries_seconds(Calls(r, "AppendEntries")),
      list_entries_seconds(Calls(r, "ListEntries")),
      get_job_seconds(Calls(r, "GetJob")),
      list_jobs_seconds(Calls(r, "ListJobs")),
      watch_job_seconds(Calls(r, "WatchJob")),
      cancel_job_seconds(Calls(r, "CancelJob")),
      pause_job_seconds(Calls(r, "PauseJob")),
      resume_job_seconds(Calls(r, "ResumeJob")),
      retry_failed_seconds(Calls(r, "RetryFailed")),
      set_priority_seconds(Calls(r, "SetPriority")),
      explain_seconds(Calls(r, "Explain")),
      read_outputs_seconds(Calls(r, "ReadOutputs")),
      list_variants_seconds(Calls(r, "ListVariants")),
      read_picture_seconds(Calls(r, "ReadPicture")),
      list_workers_seconds(Calls(r, "ListWorkers")),
      session_seconds(Calls(r, "Session")),
      upload_photo_seconds(Calls(r, "UploadPhoto")),
      open_photo_seconds(Calls(r, "OpenPhoto")),
      forget_seconds(Calls(r, "Forget")),
      list_receipts_seconds(Calls(r, "ListReceipts")),
      blobs(r),
      registry_(r) {
  for (const char* function : kRedisFunctions)
    redis_seconds_[function] = r.AddHistogram(
        "tiltshift_redis_seconds", "Round trips to Redis by function", {{"function", function}});
}

Histogram SchedulerMetrics::RedisSeconds(std::string_view function) const {
  const auto found = redis_seconds_.find(function);
  return found != redis_seconds_.end() ? found->second : redis_seconds_.find(kOther)->second;
}

const SchedulerMetrics::Renders& SchedulerMetrics::RendersOf(const std::string& model,
                                                             const std::string& device) {
  const Labels labels = {{"device", device}, {"model", models_.Of(model)}};
  const auto [found, is_new] = renders_.try_emplace(labels);
  if (!is_new) return found->second;
  const auto stage = [&](const char* name) {
    Labels all = labels;
    all.emplace_back("stage", name);
    return registry_.AddCounter("tiltshift_farm_stage_seconds_total",
                                "Seconds that committed variants spent in each stage", all);
  };
  found->second = {
      registry_.AddCounter("tiltshift_farm_images_total", "Variants committed", labels),
      registry_.AddCounter("tiltshift_farm_render_seconds_total",
                           "Seconds that a worker's slots were busy with them, over its slots",
                           labels),
      stage("encode"),
      stage("denoise"),
      stage("decode"),
      stage("finish"),
      stage("store")};
  return found->second;
}

const SchedulerMetrics::Queue& SchedulerMetrics::QueueOf(const std::string& model,
                                                         const std::string& device) {
  const Labels labels = {{"device", device}, {"model", models_.Of(model)}};
  const auto [found, is_new] = queues_.try_emplace(labels);
  if (!is_new) return found->second;
  found->second = {
      registry_.AddGauge("tiltshift_queue_seconds", "Seconds one worker would render what waits",
                         labels),
      registry_.AddGauge("tiltshift_remaining_seconds",
                         "Seconds one worker would render all that is not committed", labels)};
  return found->second;
}

const Counter& SchedulerMetrics::TenantSeconds(const std::string& tenant) {
  const std::string name = tenant_names_.Of(tenant);
  const auto [found, is_new] = tenants_.try_emplace(name);
  if (is_new)
    found->second =
        registry_.AddCounter("tiltshift_tenant_render_seconds_total",
                             "Seconds that workers rendered, by tenant", {{"tenant", name}});
  return found->second;
}

}  // namespace tiltshift::monitoring
