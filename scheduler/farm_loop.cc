#include "scheduler/farm_loop.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <unordered_map>
#include <utility>

#include "scheduler/answer.h"
#include "scheduler/message_checks.h"

namespace tiltshift::scheduler {
namespace {

constexpr auto kTick = std::chrono::milliseconds(50);
constexpr int64_t kPublishEveryMs = 100;
constexpr int64_t kTellEveryMs = 100;
constexpr int64_t kTellAllEveryMs = 500;

absl::Status NoSuchJob(const std::string& id) {
  if (id.empty()) return absl::InvalidArgumentError("job_id: is empty; name a job");
  TS_RETURN_IF_ERROR(CheckId("job_id", id));
  return absl::NotFoundError(
      absl::StrCat("there is no job \"", id, "\"; `tiltshift list` shows the jobs"));
}

absl::Status CheckSubject(const v1::ExplainRequest& request) {
  TS_RETURN_IF_ERROR(CheckId("job_id", request.job_id()));
  TS_RETURN_IF_ERROR(CheckId("variant.job_id", request.variant().job_id()));
  return CheckId("worker_id", request.worker_id());
}

}  // namespace

// One round: what the events decided, and what to do when Redis has it.
struct FarmLoop::Round {
  Farm& farm;
  int64_t now_ms;
  Batch batch;
  std::vector<store::Write> first;  // submissions and cancellations, after the commits
  std::vector<std::function<void(const store::RedisReply&)>> first_done;
  std::vector<Outgoing> messages;
  std::vector<std::function<void()>> when_durable;

  // The answer to a turn.
  struct Ack {
    std::shared_ptr<WorkerStream> stream;
    v1::SchedulerMessage message;
    int64_t received_ms;
  };
  std::unordered_map<std::string, std::vector<Ack>> acks;  // by worker
};

FarmLoop::FarmLoop(LoopOptions options, std::unique_ptr<store::FarmStore> store, const Clock& clock,
                   monitoring::SchedulerMetrics& metrics)
    : options_(std::move(options)),
      name_(absl::StrCat(options_.name, "@", options_.advertise)),
      store_(std::move(store)),
      clock_(clock),
      metrics_(metrics),
      backoff_({}, RandomSeed()) {
  store_->client().OnRoundTrip([&metrics](const std::string& function, double seconds) {
    metrics.RedisSeconds(function).Observe(seconds);
  });
}

FarmLoop::~FarmLoop() { Stop(); }

void FarmLoop::Post(Event event) {
  {
    std::lock_guard lock(mutex_);
    if (!leading_) return;  // dropped outside the lock, and with it whoever waits for an answer
    events_.push_back(std::move(event));
    if (events_.size() > 1) return;  // the loop is awake, or about to be
  }
  wake_.notify_one();
}

void FarmLoop::RunRounds() {
  for (bool last = false; !last;) {
    std::deque<Event> events;
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, kTick, [&] { return stopping_ || !events_.empty(); });
      last = stopping_;
      events.swap(events_);
    }
    if (!KeepLead() || !RunRound(std::move(events))) return;
  }
}

// Contract: reads and extends the leader key in Redis. Returns false only where the lead is lost;
// while Redis is away the lead stays ours until another takes it, because every write is fenced by
// the epoch anyway.
bool FarmLoop::KeepLead() {
  const int64_t now_ms = clock_.UnixMs();
  if (now_ms - lead_renewed_ms_ < options_.leader_ttl_ms / 3) return true;
  const auto lead = store_->Lead(name_, options_.leader_ttl_ms, epoch_);
  lead_renewed_ms_ = now_ms;
  if (lead.ok()) {
    TakeEpoch(*lead);
    EndTrouble();
  }
  if (!absl::IsFailedPrecondition(lead.status())) {
    if (!lead.ok()) ShowTrouble(lead.status());
    return true;
  }
  lost_ = lead.status();
  return false;
}

// Redis came back without this leadership: memory still has what was acknowledged, so it goes on
// under a new epoch, and the next round takes up what is there.
void FarmLoop::TakeEpoch(uint64_t epoch) {
  if (epoch == epoch_) return;
  spdlog::warn("Redis does not know of epoch {} any more; leading on in epoch {}", epoch_, epoch);
  epoch_ = epoch;
  redis_run_.clear();
}

bool FarmLoop::RunRound(std::deque<Event> events) {
  Round round{*farm_, clock_.UnixMs(), {}, {}, {}, {}, {}, {}};
  Recover(round);
  for (Event& event : events) event(round);
  farm_->Assign(round.now_ms, round.batch, round.messages);
  if (!WriteRound(round)) return false;
  Publish(clock_.UnixMs());  // first: who has an answer finds what it told
  SendAll(round);
  for (auto& act : round.when_durable) act();
  return true;
}

// In their order, except that a lease goes with the answer to its worker's turn, where there is
// one.
void FarmLoop::SendAll(Round& round) {
  const auto answer = [&](std::vector<Round::Ack>& acks) {
    for (Round::Ack& ack : acks) {
      ack.stream->Send(std::move(ack.message));
      metrics_.turn_seconds.Observe((clock_.SteadyMs() - ack.received_ms) / 1000.0);
    }
    acks.clear();
  };
  for (Outgoing& message : round.messages) {
    const auto stream = streams_.find(message.worker_id);
    if (stream == streams_.end()) continue;
    const auto acks = round.acks.find(message.worker_id);
    const bool answers = acks != round.acks.end() && !acks->second.empty();
    if (answers && message.message.has_lease()) {
      v1::TurnAck& ack = *acks->second.back().message.mutable_turn_ack();
      *ack.add_leases() = std::move(*message.message.mutable_lease());
      continue;
    }
    if (answers) answer(acks->second);
    stream->second->Send(std::move(message.message));
  }
  for (auto& [worker, acks] : round.acks) answer(acks);
}

// Contract: does nothing while Redis is the run it was. A new run may lack its last second: what
// was acknowledged and only memory still has (jobs, cancellations) is written again, and the Farm
// takes up the rest from Redis. Where Redis breaks off, the next round begins anew.
void FarmLoop::Recover(Round& round) {
  const auto run = store_->RunId();
  if (!run.ok() || *run == redis_run_) return;
  const auto keep_lead = [this] { return KeepLead() ? absl::OkStatus() : lost_; };
  auto stored = store_->Load(keep_lead);
  if (!stored.ok()) return;
  std::map<std::string, bool> cancelled;  // as Redis has it
  for (const store::StoredJob& job : stored->jobs) cancelled[job.id] = job.cancelled;
  std::vector<store::Write> writes;
  for (const std::string& id : farm_->JobIds()) {
    const auto job = farm_->View(id, round.now_ms, /*with_spec=*/true);
    const auto found = cancelled.find(id);
    if (found == cancelled.end())
      writes.push_back(store::FarmStore::Submit(epoch_, id, job->spec(), job->variants(),
                                                job->submitted_unix_ms(), ""));
    if (job->state() == v1::JOB_STATE_CANCELLED && (found == cancelled.end() || !found->second))
      writes.push_back(store::FarmStore::Cancel(epoch_, id, job->ended_unix_ms()));
  }
  if (!writes.empty()) {
    if (!store_->WriteAll(writes).ok()) return;
    stored = store_->Load(keep_lead);
    if (!stored.ok()) return;
  }
  farm_->Reconcile(*stored, round.now_ms, round.batch, round.messages);
  redis_run_ = *run;
  reordered_ = true;
  spdlog::warn(
      "Redis at {} was restarted: {} jobs and {} leases taken up from it, {} writes repeated",
      store_->client().address(), stored->jobs.size(), stored->leases.size(), writes.size());
}

// Contract: sends the round's writes, commits first, releases after them, until Redis has answered
// all; the same group again after a lost connection. Returns false where the lead is lost or the
// process is stopping.
bool FarmLoop::WriteRound(Round& round) {
  std::vector<store::Write> writes;
  std::vector<std::string> jobs;
  for (const auto& [job_id, outcomes] : round.batch.commits) {
    writes.push_back(store::FarmStore::Commit(epoch_, job_id, outcomes, round.now_ms,
                                              farm_->stored_bytes(job_id)));
    jobs.push_back(job_id);
  }
  for (auto& write : round.first) writes.push_back(std::move(write));
  for (const auto& [job_id, render_class] : round.batch.bound)
    writes.push_back(store::FarmStore::SetRenderClass(epoch_, job_id, render_class));
  for (const auto& [job_id, leases] : round.batch.grants)
    writes.push_back(store::FarmStore::Grant(epoch_, leases, round.now_ms));
  if (!round.batch.releases.empty())
    writes.push_back(store::FarmStore::Release(epoch_, round.batch.releases));
  if (writes.empty()) return true;

  for (;;) {
    const auto replies = store_->WriteAll(writes);
    if (replies.ok()) {
      EndTrouble();
      backoff_.Reset();
      for (size_t i = 0; i < jobs.size(); ++i) {
        const auto& totals = (*replies)[i].items;
        if (totals.size() >= 2)
          farm_->ApplyTotals(jobs[i], totals[0].integer, totals[1].integer, round.now_ms);
        if (totals.size() > 2) redis_run_.clear();  // it lost leases: the next round takes it up
      }
      CountCommits(round.batch);
      for (size_t i = 0; i < round.first_done.size(); ++i)
        round.first_done[i]((*replies)[jobs.size() + i]);
      return true;
    }
    if (absl::IsFailedPrecondition(replies.status())) {
      const auto lead = store_->Lead(name_, options_.leader_ttl_ms, epoch_);
      if (lead.ok() && *lead != epoch_) {
        TakeEpoch(*lead);
        for (store::Write& write : writes) write.call.arguments[0] = std::to_string(epoch_);
        continue;
      }
    }
    if (replies.status().code() != absl::StatusCode::kUnavailable) {
      lost_ = replies.status();
      return false;
    }
    ShowTrouble(replies.status());
    const auto wait = std::chrono::milliseconds(RetryRedisMs());
    std::unique_lock lock(mutex_);
    if (wake_.wait_for(lock, wait, [&] { return stopping_; })) return false;
  }
}

// A server that can't be reached is the client's to wait for; one that answers, and refuses, ours.
int64_t FarmLoop::RetryRedisMs() {
  const int64_t client_ms = store_->client().RetryInMs();
  return client_ms > 0 ? client_ms : backoff_.NextMs();
}

void FarmLoop::CountCommits(const Batch& batch) {
  for (const auto& [job, outcomes] : batch.commits) {
    for (const auto& outcome : outcomes) {
      for (const auto& range : outcome.committed) metrics_.variants_committed.Add(range.count());
      for (const auto& failure : outcome.failed) metrics_.variants_failed.Add(failure.is_final);
    }
  }
}

void FarmLoop::Publish(int64_t now_ms) {
  const auto changed = farm_->TakeChanged();
  to_watch_.insert(changed.begin(), changed.end());
  {
    std::lock_guard lock(mutex_);
    for (const std::string& id : changed) {
      auto& view = views_[id];
      if (view != nullptr) CountView(*view, -1);
      view = farm_->View(id, now_ms, /*with_spec=*/true);
      CountView(*view, 1);
    }
    const auto& ids = farm_->JobIds();
    if (std::exchange(reordered_, false) || view_order_.size() != ids.size()) view_order_ = ids;
  }
  PublishWorkers(now_ms);
  TellWatchers(now_ms);
}

// What takes a look at every worker and every job: a few times a second.
void FarmLoop::PublishWorkers(int64_t now_ms) {
  if (now_ms - published_ms_ < kPublishEveryMs) return;
  published_ms_ = now_ms;
  auto workers = farm_->Workers(now_ms);
  {
    std::lock_guard lock(mutex_);
    workers_.swap(workers);
  }
  const Farm::Counts counts = farm_->counts();
  metrics_.queue_variants.Set(counts.pending);
  metrics_.leases_active.Set(counts.leases);
  metrics_.workers_connected.Set(counts.workers);
  metrics_.leases_granted.Add(counts.granted - counted_.granted);
  metrics_.leases_expired.Add(counts.expired - counted_.expired);
  metrics_.variants_retried.Add(counts.retried - counted_.retried);
  metrics_.leases_stolen.Add(counts.stolen - counted_.stolen);
  metrics_.workers_benched.Add(counts.benched - counted_.benched);
  counted_ = counts;
}

void FarmLoop::CountView(const v1::Job& job, int by) {
  switch (job.state()) {
    case v1::JOB_STATE_PAUSED:
      return metrics_.jobs_paused.Add(by);
    case v1::JOB_STATE_RUNNING:
      return metrics_.jobs_running.Add(by);
    case v1::JOB_STATE_DONE:
      return metrics_.jobs_done.Add(by);
    case v1::JOB_STATE_FAILED:
      return metrics_.jobs_failed.Add(by);
    case v1::JOB_STATE_CANCELLED:
      return metrics_.jobs_cancelled.Add(by);
    default:
      return metrics_.jobs_queued.Add(by);
  }
}

void FarmLoop::TellWatchers(int64_t now_ms) {
  if (now_ms - told_ms_ < kTellEveryMs) return;
  told_ms_ = now_ms;
  const bool all =
      now_ms - told_all_ms_ >= kTellAllEveryMs;  // both sides then know that the other lives
  if (all) told_all_ms_ = now_ms;
  for (auto watcher = watchers_.begin(); watcher != watchers_.end();) {
    const bool due = all || to_watch_.count(watcher->first) != 0;
    const auto view = due ? Job(watcher->first) : nullptr;
    const bool stays = !due || (watcher->second.see(*view) && view->ended_unix_ms() == 0);
    watcher = stays ? std::next(watcher) : watchers_.erase(watcher);
  }
  to_watch_.clear();
}

// While Redis is away nothing new is durable; what can be said is why. Gone with the next view of
// each job.
void FarmLoop::ShowTrouble(const absl::Status& trouble) {
  if (!std::exchange(in_trouble_, true)) spdlog::warn("{}", Message(trouble));
  const auto in_trouble = [&](const v1::Job& job) {
    auto view = std::make_shared<v1::Job>(job);
    view->set_trouble(Message(trouble));
    return view;
  };
  {
    std::lock_guard lock(mutex_);
    health_ = trouble;
    for (auto& [id, view] : views_) {
      if (view->ended_unix_ms() == 0 && view->trouble() != Message(trouble))
        view = in_trouble(*view);
    }
  }
  TellWatchers(clock_.UnixMs());
}

void FarmLoop::EndTrouble() {
  if (!std::exchange(in_trouble_, false)) return;
  spdlog::info("Redis is back");
  farm_->TouchActive();
  std::lock_guard lock(mutex_);
  health_ = absl::OkStatus();
}

void FarmLoop::Submit(const std::string& job_id, const v1::JobSpec& spec, uint64_t variants,
                      const std::string& request_id,
                      std::function<void(absl::StatusOr<std::string>)> done) {
  auto answer = std::make_shared<Answer<absl::StatusOr<std::string>>>(*this, std::move(done));
  Post([=, this](Round& round) {
    if (absl::Status may = farm_->MayAdd(spec); !may.ok() && Job(job_id) == nullptr)
      return answer->Give(std::move(may));
    round.first.push_back(
        store::FarmStore::Submit(epoch_, job_id, spec, variants, round.now_ms, request_id));
    round.first_done.push_back([=, this, &round](const store::RedisReply& reply) {
      if (reply.text == job_id) farm_->AddJob(job_id, spec, variants, clock_.UnixMs());
      round.when_durable.push_back([answer, id = reply.text] { answer->Give(id); });
    });
  });
}

void FarmLoop::Cancel(const std::string& job_id, Done done) {
  auto answer = std::make_shared<Answer<absl::Status>>(*this, std::move(done));
  Post([=, this](Round& round) {
    if (!farm_->CancelJob(job_id, round.now_ms, round.batch, round.messages)) {
      answer->Give(NoSuchJob(job_id));
      return;
    }
    round.first.push_back(store::FarmStore::Cancel(epoch_, job_id, round.now_ms));
    round.first_done.push_back([](const store::RedisReply&) {});
    round.when_durable.push_back([answer] { answer->Give(absl::OkStatus()); });
  });
}

void FarmLoop::SetPaused(const std::string& job_id, bool paused, Done done) {
  auto answer = std::make_shared<Answer<absl::Status>>(*this, std::move(done));
  Post([=, this](Round& round) {
    const auto job = Job(job_id);
    if (job == nullptr || !farm_->SetPaused(job_id, paused, round.messages)) {
      answer->Give(job == nullptr
                       ? NoSuchJob(job_id)
                       : absl::FailedPreconditionError(absl::StrCat("job ", job_id, " has ended")));
      return;
    }
    round.first.push_back(store::FarmStore::SetPaused(epoch_, job_id, paused));
    round.first_done.push_back([](const store::RedisReply&) {});
    round.when_durable.push_back([answer] { answer->Give(absl::OkStatus()); });
  });
}

void FarmLoop::SetPriority(const std::string& job_id, int32_t priority, Done done) {
  auto answer = std::make_shared<Answer<absl::Status>>(*this, std::move(done));
  Post([=, this](Round& round) {
    if (!farm_->SetPriority(job_id, priority)) return answer->Give(NoSuchJob(job_id));
    round.first.push_back(store::FarmStore::SetPriority(epoch_, job_id, priority));
    round.first_done.push_back([](const store::RedisReply&) {});
    round.when_durable.push_back([answer] { answer->Give(absl::OkStatus()); });
  });
}

// What has failed is known whole to Redis alone: once it has forgotten the failures, the job is
// read back.
void FarmLoop::RetryFailed(const std::string& job_id, Done done) {
  auto answer = std::make_shared<Answer<absl::Status>>(*this, std::move(done));
  Post([=, this](Round& round) {
    const auto job = Job(job_id);
    if (job == nullptr) return answer->Give(NoSuchJob(job_id));
    if (job->state() == v1::JOB_STATE_CANCELLED) {
      return answer->Give(
          absl::FailedPreconditionError(absl::StrCat("job ", job_id, " was cancelled")));
    }
    round.first.push_back(store::FarmStore::Retry(epoch_, job_id));
    round.first_done.push_back([=, this, &round](const store::RedisReply&) {
      const auto stored = store_->LoadJob(job_id);
      if (stored.ok()) {
        farm_->Retry(*stored, round.now_ms);
      } else {
        redis_run_.clear();  // the next round reads everything
      }
    });
    round.when_durable.push_back([answer] { answer->Give(absl::OkStatus()); });
  });
}

void FarmLoop::Explain(const v1::ExplainRequest& request,
                       std::function<void(absl::StatusOr<std::string>)> done) {
  auto answer = std::make_shared<Answer<absl::StatusOr<std::string>>>(*this, std::move(done));
  Post([=, this](Round& round) {
    if (absl::Status fine = CheckSubject(request); !fine.ok()) return answer->Give(fine);
    switch (request.subject_case()) {
      case v1::ExplainRequest::kJobId:
        return answer->Give(farm_->ExplainJob(request.job_id(), round.now_ms));
      case v1::ExplainRequest::kVariant:
        return answer->Give(farm_->ExplainVariant(request.variant().job_id(),
                                                  request.variant().index(), round.now_ms));
      case v1::ExplainRequest::kWorkerId:
        return answer->Give(farm_->ExplainWorker(request.worker_id(), round.now_ms));
      default:
        answer->Give(absl::InvalidArgumentError("name a job, a variant or a worker"));
    }
  });
}

void FarmLoop::Watch(const std::string& job_id, JobWatcher watcher, Done end) {
  auto answer = std::make_shared<Answer<absl::Status>>(*this, std::move(end));
  Post([=, this](Round&) {
    const auto view = Job(job_id);
    if (view == nullptr) {
      answer->Give(NoSuchJob(job_id));
      return;
    }
    Done end = answer->Take();
    if (watcher(*view) && view->ended_unix_ms() == 0)
      watchers_.emplace(job_id, Watcher{watcher, std::move(end)});
  });
}

void FarmLoop::Connect(std::shared_ptr<WorkerStream> stream, const v1::Hello& hello) {
  auto answer = std::make_shared<Answer<absl::Status>>(
      *this, [stream](const absl::Status& why) { stream->End(why); });
  Post([=, this](Round& round) {
    answer->Take();  // StepDown ends it from now on
    spdlog::info("worker {} connected: {}", hello.worker_id(), hello.device());
    streams_[hello.worker_id()] = stream;
    v1::SchedulerMessage message;
    v1::Welcome& welcome = *message.mutable_welcome();
    welcome.set_epoch(epoch_);
    welcome.set_heartbeat_ms(options_.heartbeat_ms);
    welcome.set_lease_ttl_ms(static_cast<uint32_t>(options_.farm.lease_ttl_ms));
    for (const uint64_t token : farm_->Connect(hello, round.now_ms, round.batch))
      welcome.add_lost_tokens(token);
    stream->Send(std::move(message));
  });
}

void FarmLoop::Receive(std::shared_ptr<WorkerStream> stream, const std::string& worker_id,
                       v1::WorkerMessage message) {
  const int64_t received_ms = clock_.SteadyMs();
  Post([=, this, message = std::move(message)](Round& round) {
    const auto current = streams_.find(worker_id);
    if (current == streams_.end() || current->second != stream)
      return;  // an older stream of this worker
    if (message.has_heartbeat()) farm_->Heartbeat(worker_id, message.heartbeat(), round.now_ms);
    if (message.has_draining()) farm_->Drain(worker_id);
    if (!message.has_turn()) return;
    Round::Ack& ack = round.acks[worker_id].emplace_back();
    ack.stream = stream;
    ack.received_ms = received_ms;
    v1::TurnAck& turn_ack = *ack.message.mutable_turn_ack();
    turn_ack.set_turn(message.turn().turn());
    for (const uint64_t token :
         farm_->TakeOutcomes(worker_id, message.turn(), round.now_ms, round.batch)) {
      turn_ack.add_stale_tokens(token);
    }
  });
}

void FarmLoop::Disconnect(const WorkerStream* stream, const std::string& worker_id) {
  Post([=, this](Round&) {
    const auto current = streams_.find(worker_id);
    if (current == streams_.end() || current->second.get() != stream) return;
    spdlog::info("worker {} disconnected", worker_id);
    streams_.erase(current);
    farm_->Disconnect(worker_id);
  });
}

JobView FarmLoop::Job(const std::string& id) const {
  std::lock_guard lock(mutex_);
  const auto found = views_.find(id);
  return found == views_.end() ? nullptr : found->second;
}

absl::StatusOr<JobView> FarmLoop::FindJob(const std::string& id) const {
  std::lock_guard lock(mutex_);
  if (!leading_) return health_;
  const auto found = views_.find(id);
  if (found == views_.end()) return NoSuchJob(id);
  return found->second;
}

absl::StatusOr<std::vector<JobView>> FarmLoop::NewestJobs(size_t limit) const {
  std::lock_guard lock(mutex_);
  if (!leading_) return health_;
  std::vector<JobView> jobs;
  for (auto id = view_order_.rbegin(); id != view_order_.rend() && jobs.size() < limit; ++id)
    jobs.push_back(views_.at(*id));
  return jobs;
}

absl::StatusOr<std::vector<v1::WorkerInfo>> FarmLoop::Workers() const {
  std::lock_guard lock(mutex_);
  if (!leading_) return health_;
  return workers_;
}

absl::Status FarmLoop::Health() const {
  std::lock_guard lock(mutex_);
  return health_;
}

}  // namespace tiltshift::scheduler
