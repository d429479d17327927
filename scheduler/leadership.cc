// How a FarmLoop comes to lead, how it keeps the lead, also when Redis comes back as another run,
// and how it stops.
#include <pthread.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/cord.h"
#include "base/log.h"
#include "scheduler/queue_text.h"
#include "scheduler/round.h"

namespace tiltshift::scheduler {
namespace {

constexpr char kLeaderPayload[] = "tiltshift/leader";
constexpr int kLongestAskMs = 1'000;

// "scheduler-12-ab@farm-a:7070" -> "farm-a:7070".
std::string AddressIn(const std::string& leader) {
  const size_t at = leader.find('@');
  return at == std::string::npos ? "" : leader.substr(at + 1);
}

}  // namespace

absl::Status NotLeading(const std::string& why, const std::string& leader) {
  absl::Status status = absl::UnavailableError(why);
  status.SetPayload(kLeaderPayload, absl::Cord(leader));
  return status;
}

std::optional<std::string> LeaderOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kLeaderPayload);
  if (!payload.has_value()) return std::nullopt;
  return std::string(*payload);
}

void FarmLoop::Start() {
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "farm");
    options_.cpus.Keep();
    Run();
  });
}

void FarmLoop::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void FarmLoop::Step() {
  std::deque<Event> events;
  bool leading = false;
  {
    std::lock_guard lock(mutex_);
    leading = leading_;
    events.swap(events_);
  }
  if (leading) {
    if (!KeepLead() || !RunRound(std::move(events))) StepDown();
  } else if (const absl::Status status = TryToLead(); !status.ok()) {
    ShowStandby(status);
  }
}

bool FarmLoop::Stopping() const {
  std::lock_guard lock(mutex_);
  return stopping_;
}

void FarmLoop::Run() {
  while (StandBy()) {
    RunRounds();
    StepDown();
  }
}

// Returns true with the lead, false where the process stops or must end.
bool FarmLoop::StandBy() {
  std::string said;
  while (!Stopping()) {
    const absl::Status status = TryToLead();
    if (status.ok()) return true;
    const bool refused = absl::IsPermissionDenied(status) && !stood_by_;
    if (refused || absl::IsUnimplemented(status) || absl::IsDataLoss(status) ||
        absl::IsInvalidArgument(status)) {
      std::lock_guard lock(mutex_);
      failure_ = status;
      return false;
    }
    if (absl::IsFailedPrecondition(status)) stood_by_ = true;
    if (said != Message(status)) spdlog::warn("waiting: {}", said = Message(status));
    ShowStandby(status);
    const auto wait = std::chrono::milliseconds(
        absl::IsUnavailable(status) ? RetryRedisMs()
                                    : std::min(options_.leader_ttl_ms / 3, kLongestAskMs));
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, wait, [&] { return stopping_; });
  }
  return false;
}

absl::Status FarmLoop::CheckNothingIsLost() {
  TS_ASSIGN_OR_RETURN(const bool has_epoch, store_->HasEpoch());
  if (has_epoch) return absl::OkStatus();
  if (!blobs_hold_jobs_) {
    const auto holds = options_.blobs_hold_jobs();
    if (!holds.ok()) return absl::UnavailableError(Message(holds.status()));
    blobs_hold_jobs_ = *holds;
  }
  if (!blobs_hold_jobs_) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "Redis at ", store_->client().address(),
      " is empty, and the blob store holds jobs: bring back what Redis held, or run "
      "tiltshift-scheduler --rebuild with the same --redis and --blobs; this one goes on then"));
}

absl::Status FarmLoop::LoadTokens() {
  if (options_.tokens == nullptr) return absl::OkStatus();
  TS_ASSIGN_OR_RETURN(const auto tokens, store_->LoadTokens());
  options_.tokens->Replace(tokens);
  return absl::OkStatus();
}

// Contract: takes the lead in Redis, where nobody has it, and then everything that is there. The
// functions there become this scheduler's; a standby leaves those of the leader alone. Where it
// breaks off, the lead is given up again.
absl::Status FarmLoop::TryToLead() {
  TS_RETURN_IF_ERROR(store_->CheckServer());
  TS_RETURN_IF_ERROR(store_->CheckSchema());
  TS_RETURN_IF_ERROR(LoadTokens());  // a standby as well answers nobody it doesn't know
  TS_RETURN_IF_ERROR(CheckNothingIsLost());
  TS_ASSIGN_OR_RETURN(epoch_, store_->Lead(name_, options_.leader_ttl_ms, 0));
  farm_ = std::make_unique<Farm>(options_.farm, epoch_);
  lead_renewed_ms_ = clock_.UnixMs();
  const auto take_up = [&]() -> absl::StatusOr<store::StoredFarm> {
    TS_RETURN_IF_ERROR(store_->Prepare());
    TS_RETURN_IF_ERROR(LoadTokens());
    TS_ASSIGN_OR_RETURN(redis_run_, store_->RunId());
    return store_->Load([this] { return KeepLead() ? absl::OkStatus() : lost_; });
  };
  const auto stored = take_up();
  if (!stored.ok()) {
    store_->Resign(name_, epoch_).IgnoreError();
    return stored.status();
  }
  backoff_.Reset();
  stood_by_ = true;
  const int64_t now_ms = clock_.UnixMs();
  farm_->Restore(*stored, now_ms);
  spdlog::info("leading: epoch {}, {} jobs, {} leases", epoch_, stored->jobs.size(),
               stored->leases.size());
  metrics_.leader.Set(1);
  metrics_.epoch.Set(static_cast<double>(epoch_));
  SetLogEpoch(epoch_);
  published_ms_ = 0;
  looked_ms_ = 0;
  Publish(now_ms);
  lost_ = absl::OkStatus();
  in_trouble_ = false;
  std::lock_guard lock(mutex_);
  leading_ = true;
  health_ = absl::OkStatus();
  return absl::OkStatus();
}

void FarmLoop::ShowStandby(const absl::Status& why) {
  const std::string leader =
      absl::IsFailedPrecondition(why) ? AddressIn(store_->leader()) : std::string();
  const auto queue = leader.empty() ? absl::StatusOr<std::string>("") : store_->LoadQueue();
  const auto gallery = leader.empty() ? absl::StatusOr<std::string>("") : store_->LoadGallery();
  std::lock_guard lock(mutex_);
  health_ = NotLeading(absl::StrCat("this scheduler stands by: ", Message(why)), leader);
  queue_ = queue.ok() ? QueueOf(*queue) : std::nullopt;
  leader_gallery_ = gallery.value_or("");
}

// Contract: after it nothing is left of the leadership: no farm, no views, no stream, no watcher,
// no event. Redis gives the lead to the next who asks, where it was still ours.
void FarmLoop::StepDown() {
  const bool stopping = Stopping();
  const absl::Status why =
      NotLeading(stopping ? "this scheduler stopped; try again"
                          : absl::StrCat("this scheduler lost the lead: ", Message(lost_)),
                 "");
  if (!stopping) spdlog::error("stepping down, epoch {}: {}", epoch_, Message(lost_));
  std::deque<Event> dropped;
  {
    std::lock_guard lock(mutex_);
    leading_ = false;
    health_ = why;
    dropped.swap(events_);
    for (const auto& [id, view] : views_) CountView(*view, -1);
    views_.clear();
    view_order_.clear();
    workers_.clear();
    queue_.reset();
    leader_gallery_.clear();
  }
  store_->Resign(name_, epoch_).IgnoreError();
  dropped.clear();
  for (const auto& [id, stream] : std::exchange(streams_, {})) stream->End(why);
  for (const auto& [id, watcher] : std::exchange(watchers_, {})) watcher.end(why);
  to_watch_.clear();
  farm_.reset();
  counted_ = {};
  SetLogEpoch(0);
  ShowQueue({});
  for (const monitoring::Gauge& gauge :
       {metrics_.leader, metrics_.epoch, metrics_.queue_variants, metrics_.leases_active,
        metrics_.workers_connected, metrics_.workers_idle, metrics_.workers_busy,
        metrics_.workers_draining, metrics_.workers_on_bench})
    gauge.Set(0);
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
  metrics_.epoch.Set(static_cast<double>(epoch_));
  SetLogEpoch(epoch_);
  redis_run_.clear();
}

// Contract: does nothing while Redis is the run it was. A new run may lack its last second: what
// was acknowledged and only memory still has (tokens, jobs, entries, cancellations) is written
// again, and the Farm takes up the rest from Redis. Where Redis breaks off, the next round begins
// anew.
void FarmLoop::Recover(Round& round) {
  const auto run = store_->RunId();
  if (!run.ok() || *run == redis_run_) return;
  const auto keep_lead = [this] { return KeepLead() ? absl::OkStatus() : lost_; };
  auto stored = store_->Load(keep_lead);
  if (!stored.ok()) return;
  std::map<std::string, const store::StoredJob*> known;
  for (const store::StoredJob& job : stored->jobs) known[job.id] = &job;
  std::vector<store::Write> writes;
  if (options_.tokens != nullptr) {
    for (const v1::StoredToken& token : options_.tokens->All())
      writes.push_back(store::FarmStore::PutToken(epoch_, token));
  }
  for (const std::string& id : farm_->JobIds()) {
    const auto job = farm_->View(id, round.now_ms, /*with_spec=*/true);
    const auto found = known.find(id);
    if (found == known.end())
      writes.push_back(store::FarmStore::Submit(epoch_, id, job->spec(), job->variants(),
                                                job->submitted_unix_ms(), ""));
    else if (found->second->variants < job->variants())
      writes.push_back(store::FarmStore::Append(epoch_, id, job->spec(), job->variants()));
    const bool known_cancelled = found != known.end() && found->second->cancelled;
    if (job->state() == v1::JOB_STATE_CANCELLED && !known_cancelled)
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

absl::Status FarmLoop::failure() const {
  std::lock_guard lock(mutex_);
  return failure_;
}

absl::Status FarmLoop::Leading() const {
  std::lock_guard lock(mutex_);
  return leading_ ? absl::OkStatus() : health_;
}

}  // namespace tiltshift::scheduler
