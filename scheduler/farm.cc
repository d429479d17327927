#include "scheduler/farm.h"

#include <utility>

#include "plan/model_variant.h"

namespace tiltshift::scheduler {
namespace {

constexpr int64_t kRateWindowMs = 60'000;

}  // namespace

v1::VariantRange ToProto(const Range& range) {
  v1::VariantRange out;
  out.set_first(range.first);
  out.set_count(range.count);
  return out;
}

Farm::JobState& Farm::NewJob(const std::string& id, const v1::JobSpec& spec) {
  JobState& job = jobs_[id];
  job.id = id;
  job.spec = spec;
  job.renders_with = plan::ModelVariant(spec);
  job.order = order_.size();
  order_.push_back(id);
  Changed(job);
  return job;
}

void Farm::AddJob(const std::string& id, const v1::JobSpec& spec, uint64_t variants,
                  int64_t now_ms) {
  if (jobs_.count(id) != 0) return;
  JobState& job = NewJob(id, spec);
  job.variants = variants;
  job.submitted_ms = now_ms;
  job.waiting_since_ms = now_ms;
  job.priority = spec.priority();
  job.pending.Add({{0, variants}, 0, 0});
  active_.insert(id);
  Requeue(job);
}

void Farm::Extend(const std::string& id, const v1::JobSpec& spec, uint64_t variants) {
  JobState& job = jobs_.at(id);
  if (job.cancelled || variants <= job.variants) return;
  job.pending.Add({{job.variants, variants - job.variants}, 0, 0});
  job.spec = spec;
  job.variants = variants;
  job.ended_ms = 0;
  for (auto& [worker_id, worker] : workers_) worker.knows_jobs.erase(id);
  active_.insert(id);
  Changed(job);
  Requeue(job);
}

bool Farm::CancelJob(const std::string& id, int64_t now_ms, Batch& batch,
                     std::vector<Outgoing>& messages) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return false;
  JobState& job = found->second;
  if (job.ended()) return true;
  std::vector<uint64_t> tokens;
  for (const auto& [token, lease] : leases_) {
    if (lease.job == &job) tokens.push_back(token);
  }
  for (const uint64_t token : tokens) {
    Outgoing& message = messages.emplace_back();
    message.worker_id = leases_.at(token).worker->id;
    message.message.mutable_revoke()->set_token(token);
    message.message.mutable_revoke()->set_reason("the job was cancelled");
    EndLease(token, now_ms, 0, batch);
  }
  job.cancelled = true;
  job.ended_ms = now_ms;
  job.pending.Clear();
  Requeue(job);
  active_.erase(id);
  Changed(job);
  return true;
}

Farm::WorkerState& Farm::WorkerCalled(const std::string& id) {
  WorkerState& worker = workers_[id];
  worker.id = id;
  return worker;
}

void Farm::Want(WorkerState& worker) {
  if (worker.connected && !std::exchange(worker.in_wanting, true)) wanting_.push_back(&worker);
}

std::vector<uint64_t> Farm::Connect(const v1::Hello& hello, int64_t now_ms, Batch& batch) {
  WorkerState& worker = WorkerCalled(hello.worker_id());
  worker.hello = hello;
  worker.connected = true;
  worker.draining = false;
  worker.want = 0;
  worker.connected_ms = now_ms;
  worker.device = DeviceNumber(hello.device_kind());
  worker.knows_jobs.clear();
  takers_.reset();
  std::vector<uint64_t> lost;
  for (const uint64_t token : hello.held_tokens()) {
    const auto lease = leases_.find(token);
    if (lease == leases_.end() || lease->second.worker != &worker) {
      lost.push_back(token);
    } else {
      lease->second.deadline_ms = now_ms + options_.lease_ttl_ms;
    }
  }
  std::set<uint64_t> unnamed = worker.tokens;
  for (const uint64_t token : hello.held_tokens()) unnamed.erase(token);
  for (const uint64_t token : unnamed) EndLease(token, now_ms, leases_.at(token).lost, batch);
  return lost;
}

void Farm::Disconnect(const std::string& worker_id) {
  const auto worker = workers_.find(worker_id);
  if (worker == workers_.end()) return;
  worker->second.connected = false;
  worker->second.want = 0;
  takers_.reset();
  if (worker->second.in_wanting) std::erase(wanting_, &worker->second);
  worker->second.in_wanting = false;
  if (worker->second.tokens.empty()) workers_.erase(worker);
}

void Farm::Drain(const std::string& worker_id) {
  const auto worker = workers_.find(worker_id);
  if (worker == workers_.end()) return;
  worker->second.draining = true;
  takers_.reset();
}

void Farm::ApplyTotals(const std::string& job_id, uint64_t committed, uint64_t failed,
                       int64_t now_ms) {
  JobState& job = jobs_.at(job_id);
  job.committed = committed;
  job.failed = failed;
  if (committed + failed >= job.variants) job.cancelled = false;  // it ended before it could be
  job.recent.emplace_back(now_ms, committed);
  while (job.recent.size() > 2 && job.recent[1].first < now_ms - kRateWindowMs)
    job.recent.pop_front();
  if (!job.ended() && committed + failed >= job.variants) {
    job.ended_ms = now_ms;
    active_.erase(job_id);
    Requeue(job);
  }
  Changed(job);
}

std::unique_ptr<v1::Job> Farm::View(const std::string& id, int64_t now_ms, bool with_spec) const {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return nullptr;
  const JobState& job = found->second;
  auto view = std::make_unique<v1::Job>();
  view->set_id(id);
  if (with_spec) *view->mutable_spec() = job.spec;
  view->mutable_spec()->set_name(job.spec.name());
  view->set_variants(job.variants);
  view->set_committed(job.committed);
  view->set_failed(job.failed);
  view->set_leased(job.leased);
  view->set_submitted_unix_ms(job.submitted_ms);
  view->set_started_unix_ms(job.started_ms);
  view->set_ended_unix_ms(job.ended_ms);
  if (job.cancelled) view->set_cancelled(job.variants - job.committed - job.failed);
  view->set_priority(job.priority);
  view->set_stored_bytes(job.stored_bytes);
  view->set_render_class(job.render_class);
  view->set_state(job.cancelled    ? v1::JOB_STATE_CANCELLED
                  : job.ended()    ? (job.failed > 0 ? v1::JOB_STATE_FAILED : v1::JOB_STATE_DONE)
                  : job.paused     ? v1::JOB_STATE_PAUSED
                  : job.started_ms ? v1::JOB_STATE_RUNNING
                                   : v1::JOB_STATE_QUEUED);
  view->set_images_per_second(job.images_per_second());
  for (const auto& [index, failure] : job.failures) *view->add_failures() = failure;
  return view;
}

std::vector<v1::WorkerInfo> Farm::Workers(int64_t now_ms) const {
  std::vector<v1::WorkerInfo> infos;
  for (const auto& [id, worker] : workers_) {
    if (!worker.connected) continue;
    v1::WorkerInfo& info = infos.emplace_back();
    info.set_id(id);
    info.set_device(worker.hello.device());
    info.set_slots(worker.hello.slots());
    for (const auto& model : worker.hello.models())
      if (model.problem().empty()) info.add_models(model.name());
    uint64_t leased = 0;
    for (const uint64_t token : worker.tokens) leased += Total(leases_.at(token).remaining);
    info.set_leased(leased);
    info.set_committed(worker.committed);
    if (worker.seconds_per_variant > 0) info.set_images_per_second(1 / worker.seconds_per_variant);
    info.set_connected_unix_ms(worker.connected_ms);
    info.set_draining(worker.draining);
    if (IsBenched(worker, now_ms)) info.set_benched(worker.bench_reason);
    info.set_device_kind(worker.hello.device_kind());
    if (worker.device_status.has_value()) *info.mutable_device_status() = *worker.device_status;
    info.set_slots_busy(worker.slots_busy);
  }
  return infos;
}

void Farm::Changed(JobState& job) {
  if (!std::exchange(job.in_changed, true)) changed_.push_back(&job);
}

void Farm::TouchActive() {
  for (const std::string& id : active_) Changed(jobs_.at(id));
}

std::vector<std::string> Farm::TakeChanged() {
  std::vector<std::string> ids;
  for (JobState* job : std::exchange(changed_, {})) {
    job->in_changed = false;
    ids.push_back(job->id);
  }
  return ids;
}

}  // namespace tiltshift::scheduler
