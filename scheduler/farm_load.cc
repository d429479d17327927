// What there is to do, and what was done: for metrics, and for who decides how many workers to run.
// Turns only add to sums; what looks at every job is called a few times a second.
#include <algorithm>
#include <utility>

#include "scheduler/farm.h"

namespace tiltshift::scheduler {
namespace {

constexpr std::array<const char*, 3> kDeviceNames = {"cpu", "cuda", "other"};
constexpr double kMemory = 0.8;        // share of the old estimate kept at each look
constexpr double kUnknownSeconds = 1;  // of a variant, before any was rendered
constexpr char kAnyModel[] = "";

void Blend(double measured, double& estimate) {
  estimate = estimate == 0 ? measured : kMemory * estimate + (1 - kMemory) * measured;
}

void AddTo(v1::StageSeconds& sum, const v1::StageSeconds& more, double share) {
  sum.set_encode(sum.encode() + share * more.encode());
  sum.set_denoise(sum.denoise() + share * more.denoise());
  sum.set_decode(sum.decode() + share * more.decode());
  sum.set_finish(sum.finish() + share * more.finish());
  sum.set_store(sum.store() + share * more.store());
}

}  // namespace

size_t Farm::DeviceNumber(const std::string& kind) {
  const auto* found = std::find(kDeviceNames.begin(), kDeviceNames.end() - 1, kind);
  return static_cast<size_t>(found - kDeviceNames.begin());
}

// `share`: of the variants that the outcome told of, those that count.
void Farm::NoteRenders(JobState& job, const WorkerState& worker, const v1::Outcome& outcome,
                       uint64_t variants, double share) {
  Renders& renders = job.renders[worker.device];
  renders.images += variants;
  renders.seconds += share * outcome.render_seconds() / std::max(1u, worker.hello.slots());
  if (outcome.has_stages()) AddTo(renders.stages, outcome.stages(), share);
  if (!std::exchange(job.in_rendered, true)) rendered_.push_back(&job);
}

void Farm::TakeRenders(const std::function<void(const v1::JobSpec& spec, const char* device,
                                                const Renders& renders)>& take) {
  for (JobState* job : std::exchange(rendered_, {})) {
    job->in_rendered = false;
    uint64_t images = 0;
    double seconds = 0;
    for (size_t device = 0; device < kDevices; ++device) {
      const Renders renders = std::exchange(job->renders[device], {});
      if (renders.images == 0) continue;
      take(job->spec, kDeviceNames[device], renders);
      images += renders.images;
      seconds += renders.seconds;
    }
    const double each = seconds / static_cast<double>(images);
    if (each <= 0) continue;  // put down by who did not render them
    Blend(each, job->seconds_per_variant);
    Blend(each, model_seconds_[job->spec.model()]);
    Blend(each, model_seconds_[kAnyModel]);
  }
}

double Farm::SecondsPerVariant(const JobState& job) const {
  if (job.seconds_per_variant > 0) return job.seconds_per_variant;
  for (const std::string& model : {job.spec.model(), std::string(kAnyModel)}) {
    const auto known = model_seconds_.find(model);
    if (known != model_seconds_.end()) return known->second;
  }
  return kUnknownSeconds;
}

Farm::Queue Farm::LookAtQueue(int64_t now_ms) {
  Queue queue;
  std::map<std::pair<std::string, std::string>, size_t> places;
  for (const std::string& id : active_) {
    JobState& job = jobs_.at(id);
    const uint64_t waiting = job.pending.count();
    if (waiting == 0) job.waiting_since_ms = 0;
    if (waiting > 0 && job.waiting_since_ms == 0) job.waiting_since_ms = now_ms;
    if (job.paused) continue;
    const std::string& device = job.spec.requirements().device();
    const auto [place, is_new] = places.try_emplace({job.spec.model(), device}, queue.loads.size());
    if (is_new) queue.loads.push_back({job.spec.model(), device.empty() ? "any" : device});
    Load& load = queue.loads[place->second];
    const double each = SecondsPerVariant(job);
    load.waiting_seconds += each * static_cast<double>(waiting);
    load.remaining_seconds += each * static_cast<double>(job.left());
    if (waiting == 0) continue;
    queue.oldest_waiting_seconds =
        std::max(queue.oldest_waiting_seconds, (now_ms - job.waiting_since_ms) / 1000.0);
  }
  return queue;
}

Farm::Counts Farm::counts(int64_t now_ms) const {
  Counts counts;
  for (const std::string& id : active_) counts.pending += jobs_.at(id).pending.count();
  counts.leases = leases_.size();
  for (const auto& [id, worker] : workers_) {
    if (!worker.connected) continue;
    ++counts.workers;
    ++(IsBenched(worker, now_ms) ? counts.on_bench
       : worker.draining         ? counts.draining
       : worker.tokens.empty()   ? counts.idle
                                 : counts.busy);
  }
  counts.granted = granted_;
  counts.expired = expired_;
  counts.retried = retried_;
  counts.stolen = stolen_;
  counts.benched = benched_;
  counts.quarantined = quarantined_;
  return counts;
}

}  // namespace tiltshift::scheduler
