#include "tests/simulator/farm_simulator.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "plan/plan.h"

namespace tiltshift::tests {
namespace {

constexpr int kSchedulers = 2;
constexpr int64_t kRoundMs = 50;
constexpr int64_t kStandbyMs = 1'000;
constexpr int64_t kLeadMs = 3'000;     // after which a silent leader's lead lapses
constexpr int64_t kRestartMs = 2'000;  // until a dead scheduler is back
constexpr int64_t kSaveMs = 1'000;     // what a Redis may lose
constexpr int64_t kTakesUpMs = 20'000;
constexpr int64_t kCheckMs = 5'000;
constexpr uint64_t kLargestLease = 64;  // of this farm: for the bound of a killer's deaths

v1::JobSpec Spec(const Scenario& scenario, int number) {
  v1::JobSpec spec;
  spec.set_name(absl::StrCat("job ", number));
  spec.set_model("any");
  spec.set_prompt("number {n}");
  spec.set_tenant(absl::StrCat("tenant", number % std::max(1, scenario.tenants)));
  v1::Axis& axis = *spec.add_axes();
  axis.set_name("n");
  axis.set_range(absl::StrCat("1-", scenario.variants));
  const auto plan = plan::Plan::Create(spec);
  return plan.ok() ? plan->spec() : spec;
}

store::RedisAddress Parsed(const std::string& address) {
  return *store::ParseRedisAddress(address);
}

}  // namespace

FarmSimulator::FarmSimulator(const Scenario& scenario, uint64_t seed, const std::string& folder)
    : scenario_(scenario),
      world_(seed),
      redis_(folder, {"--appendonly", "no", "--dbfilename", "simulated.rdb"}),
      client_(Parsed(redis_.address())) {
  spdlog::set_level(spdlog::level::off);
  for (int i = 0; i < kSchedulers; ++i) {
    schedulers_.push_back(std::make_unique<Scheduler>());
    schedulers_[i]->metrics =
        std::make_unique<monitoring::SchedulerMetrics>(schedulers_[i]->registry);
    StartScheduler(i);
  }
  for (int i = 0; i < scenario.workers; ++i) {
    const double factor = i == 0 ? scenario.slowest : 1;
    const bool is_bad = i > 0 && i <= scenario.bad_workers;
    workers_.push_back(std::make_unique<SimulatedWorker>(world_, *this, scenario_, i,
                                                         factor * scenario.seconds_each, is_bad));
    world_.In(static_cast<int64_t>(world_.Below(3'000)),
              [worker = workers_.back().get()] { worker->Start(); });
  }
  jobs_.resize(scenario.jobs);
  for (int i = 0; i < scenario.jobs; ++i) {
    Job& job = jobs_[i];
    job.id = absl::StrCat("j", i);
    job.request = absl::StrCat("request ", i);
    job.rendered.resize(scenario.variants);
    const auto pick = [&](int count, std::set<uint64_t>& into) {
      while (i == 0 && into.size() < static_cast<size_t>(count)) {
        const uint64_t index = world_.Below(scenario.variants);
        if (job.kills.count(index) == 0) into.insert(index);
      }
    };
    pick(scenario.killers, job.kills);
    pick(scenario.broken, job.breaks);
    by_id_[job.id] = &job;
  }
}

FarmSimulator::~FarmSimulator() {
  for (auto& scheduler : schedulers_) scheduler->loop.reset();
}

bool FarmSimulator::Kills(const std::string& job, uint64_t index) {
  return by_id_.at(job)->kills.count(index) != 0;
}
bool FarmSimulator::Breaks(const std::string& job, uint64_t index) {
  return by_id_.at(job)->breaks.count(index) != 0;
}
void FarmSimulator::Rendered(const std::string& job, uint64_t index) {
  uint8_t& times = by_id_.at(job)->rendered.at(index);
  times = static_cast<uint8_t>(std::min(255, times + 1));
  ++result_.rendered;
}
void FarmSimulator::Killed(const std::string& job, uint64_t index) {
  const int deaths = ++by_id_.at(job)->killed[index];
  const double bound = 2 * std::log2(static_cast<double>(kLargestLease));
  if (deaths > bound)
    Wrong(absl::StrCat("variant ", index, " of ", job, " has killed ", deaths, " workers"));
}

// I3: a token is one lease's, whoever leads, and later leaders' are greater.
void FarmSimulator::Granted(int scheduler, const v1::Lease& lease) {
  // Its first grants may come before it is seen to lead.
  const uint64_t lead = schedulers_[scheduler]->led ? schedulers_[scheduler]->lead : leads_ + 1;
  const std::string what = absl::StrCat(lease.job_id(), " ", lease.range().first());
  const auto [held, is_new] = holders_.emplace(lease.token(), what);
  if (!is_new)
    Wrong(absl::StrCat("token ", lease.token(), " was granted twice: ", held->second, ", ", what));
  for (const auto& [earlier, token] : greatest_) {
    if (earlier < lead && lease.token() <= token)
      Wrong(absl::StrCat("token ", lease.token(), " is not above those of an earlier leader"));
  }
  greatest_[lead] = std::max(greatest_[lead], lease.token());
}

// I2: what is acknowledged is in Redis. One that was just killed may have lost what it answered
// for.
void FarmSimulator::Acknowledged(const v1::Outcome& outcome) {
  if (world_.Now() < takes_up_until_ms_) return;
  for (const v1::VariantRange& range : outcome.committed()) {
    for (uint64_t index = range.first(); index < range.first() + range.count(); ++index) {
      if (!IsDurable(outcome.job_id(), index))
        Wrong(absl::StrCat("variant ", index, " of ", outcome.job_id(),
                           " was acknowledged, and Redis does not have it"));
    }
  }
}

bool FarmSimulator::IsDurable(const std::string& job, uint64_t index) {
  const std::string key = absl::StrCat("ts:job:", job);
  return Ask({"GETBIT", key + ":done", std::to_string(index)}) == "1" ||
         Ask({"GETBIT", key + ":failed", std::to_string(index)}) == "1";
}

void FarmSimulator::StartScheduler(int which) {
  Scheduler& scheduler = *schedulers_[which];
  scheduler.name = absl::StrCat("s", which, "-", ++scheduler.incarnation);
  scheduler.led = false;
  scheduler.stood_by_ms = 0;
  scheduler::LoopOptions options;
  options.name = scheduler.name;
  // Renewed every 3 s. Redis' own clock is not turned: LeadLapses is what ends a lead.
  options.leader_ttl_ms = 9'000;
  options.farm.target_lease_ms =
      static_cast<int64_t>(1'000 * scenario_.seconds_each * kLargestLease / 2);
  scheduler.loop = std::make_unique<scheduler::FarmLoop>(
      options, std::make_unique<store::FarmStore>(Parsed(redis_.address())), world_.clock(),
      *scheduler.metrics);
}

void FarmSimulator::StepScheduler(int which) {
  Scheduler& scheduler = *schedulers_[which];
  world_.In(kRoundMs, [this, which] { StepScheduler(which); });
  if (scheduler.loop == nullptr || world_.Now() < scheduler.frozen_until_ms) return;
  const bool leads = scheduler.loop->Leading().ok();
  if (!leads && world_.Now() - scheduler.stood_by_ms < kStandbyMs) return;
  scheduler.stood_by_ms = world_.Now();
  scheduler.loop->Step();
  const bool led = std::exchange(scheduler.led, scheduler.loop->Leading().ok());
  if (scheduler.led && !led) scheduler.lead = ++leads_;
  if (led == scheduler.led) return;
  world_.Log(absl::StrCat(scheduler.name, scheduler.led ? " leads" : " steps down"));
  result_.leaderships += scheduler.led;
}

// The lead of a scheduler that does not renew it.
void FarmSimulator::LeadLapses(const std::string& name) {
  world_.In(kLeadMs, [this, name] {
    if (Ask({"GET", "ts:leader"}).rfind(name + "@", 0) == 0)
      client_.Run({"DEL", "ts:leader"}).IgnoreError();
  });
}

int FarmSimulator::Leader() const {
  int newest = -1;
  for (int i = 0; i < kSchedulers; ++i) {
    const Scheduler& scheduler = *schedulers_[i];
    if (scheduler.loop == nullptr || scheduler.frozen_until_ms > world_.Now() || !scheduler.led)
      continue;
    if (newest < 0 || scheduler.lead > schedulers_[newest]->lead) newest = i;
  }
  return newest;
}

void FarmSimulator::KillLeader() {
  const int which = Leader();
  if (which < 0) return;
  Scheduler& scheduler = *schedulers_[which];
  world_.Log(scheduler.name + " dies");
  LeadLapses(scheduler.name);
  scheduler.loop.reset();
  ++scheduler.incarnation;
  for (auto& worker : workers_) {
    world_.In(static_cast<int64_t>(world_.Below(50)), [worker = worker.get(), which] {
      if (worker->up() && worker->scheduler() == which) worker->BreakStream();
    });
  }
  world_.In(kRestartMs, [this, which] { StartScheduler(which); });
}

void FarmSimulator::FreezeLeader() {
  const int which = Leader();
  if (which < 0) return;
  Scheduler& scheduler = *schedulers_[which];
  world_.Log(scheduler.name + " freezes");
  scheduler.frozen_until_ms = world_.Now() + static_cast<int64_t>(1'000 * scenario_.freeze_seconds);
  LeadLapses(scheduler.name);
}

// It comes back as it was saved last: without its last second.
void FarmSimulator::RestartRedis() {
  world_.Log("Redis is killed");
  ++result_.redis_restarts;
  redis_.KillMinus9();
  redis_.Start();
  for (Job& job : jobs_) job.seen = 0;
  takes_up_until_ms_ = world_.Now() + kTakesUpMs;
  // A lead that it remembers lapses again, where nobody renews it.
  const std::string holder = Ask({"GET", "ts:leader"});
  const int leader = Leader();
  const std::string name = holder.substr(0, holder.find('@'));
  if (!holder.empty() && (leader < 0 || schedulers_[leader]->name != name)) LeadLapses(name);
}

void FarmSimulator::Submit(Job& job) {
  const int which = Leader();
  if (which >= 0) {
    const v1::JobSpec spec = Spec(scenario_, std::atoi(job.id.c_str() + 1));
    schedulers_[which]->loop->Submit(job.id, spec, scenario_.variants, job.request,
                                     [&job](const absl::StatusOr<std::string>& id) {
                                       job.submitted = job.submitted || id.ok();
                                     });
  }
  world_.In(1'000, [this, &job] {
    if (!job.submitted) Submit(job);
  });
}

// The fault again and again, until the faults end.
void FarmSimulator::Keep(double a_minute, std::function<void()> fault) {
  if (a_minute <= 0) return;
  world_.In(world_.Gap(a_minute), [this, a_minute, fault] {
    if (world_.Now() >= faults_end_ms_) return;
    fault();
    Keep(a_minute, fault);
  });
}

std::string FarmSimulator::Ask(const store::RedisCommand& command) {
  for (int tries = 0; tries < 100; ++tries) {
    const auto reply = client_.Run(command);
    if (reply.ok()) {
      return reply->kind == store::RedisReply::Kind::kInteger ? std::to_string(reply->integer)
                                                              : reply->text;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));  // a Redis that just came back
  }
  return "";
}

void FarmSimulator::Wrong(const std::string& what) {
  world_.Log("WRONG: " + what);
  if (result_.wrong.empty()) result_.wrong = what;
}

// I1: the leader's totals are the bits, and with one Redis they only rise.
void FarmSimulator::CheckProgress() {
  const int which = Leader();
  for (Job& job : jobs_) {
    if (which < 0 || !job.submitted) continue;
    const auto view = schedulers_[which]->loop->FindJob(job.id);
    if (!view.ok()) {
      Wrong(absl::StrCat("job ", job.id, " was acknowledged, and the leader knows nothing of it"));
      continue;
    }
    const std::string key = "ts:job:" + job.id;
    const std::string bits = Ask({"BITCOUNT", key + ":done"}),
                      failed = Ask({"BITCOUNT", key + ":failed"});
    if (Ask({"HGET", key, "committed"}) != bits)
      Wrong(absl::StrCat("job ", job.id, " counts ", Ask({"HGET", key, "committed"}),
                         " commits, and has ", bits, " bits"));
    if ((*view)->committed() + (*view)->failed() > scenario_.variants)
      Wrong(absl::StrCat("job ", job.id, " has more variants than it has"));
    // A leader shows what it knew until it has taken up what Redis lost.
    if (world_.Now() < takes_up_until_ms_) continue;
    if ((*view)->committed() < job.seen)
      Wrong(absl::StrCat("job ", job.id, " had ", job.seen, " commits, and now ",
                         (*view)->committed()));
    job.seen = (*view)->committed();
  }
}

bool FarmSimulator::AllEnded() {
  const int which = Leader();
  return which >= 0 && std::all_of(jobs_.begin(), jobs_.end(), [&](const Job& job) {
           const auto view = schedulers_[which]->loop->FindJob(job.id);
           return view.ok() && (*view)->ended_unix_ms() != 0;
         });
}

void FarmSimulator::CheckEnd() {
  const int which = Leader();
  for (const Job& job : jobs_) {
    const v1::Job view = **schedulers_[which]->loop->FindJob(job.id);
    const std::string key = "ts:job:" + job.id;
    if (view.committed() + view.failed() != scenario_.variants)
      Wrong(absl::StrCat("job ", job.id, " ended with ", view.committed(), " + ", view.failed()));
    if (Ask({"BITCOUNT", key + ":done"}) != std::to_string(view.committed()) ||
        Ask({"BITCOUNT", key + ":failed"}) != std::to_string(view.failed()))
      Wrong(absl::StrCat("job ", job.id, " has other bits than totals"));
    for (uint64_t index = 0; index < scenario_.variants; ++index) {
      const bool done = Ask({"GETBIT", key + ":done", std::to_string(index)}) == "1";
      if (done && job.rendered[index] == 0)
        Wrong(absl::StrCat("variant ", index, " of ", job.id,
                           " is committed and was never rendered"));
      if (done && (job.kills.count(index) != 0 || job.breaks.count(index) != 0))
        Wrong(absl::StrCat("variant ", index, " of ", job.id,
                           " can't be rendered, and is committed"));
    }
    for (const auto& failure : view.failures()) {
      const bool ours =
          job.kills.count(failure.index()) != 0 || job.breaks.count(failure.index()) != 0;
      const bool unlucky = failure.reason().find("was lost") != std::string::npos;
      if (!ours && !unlucky)
        Wrong(absl::StrCat("variant ", failure.index(), " of ", job.id,
                           " failed: ", failure.reason()));
    }
  }
  if (const std::string leases = Ask({"HLEN", "ts:leases"}); leases != "0")
    Wrong(absl::StrCat(leases, " leases are left over"));
}

SimulationResult FarmSimulator::Run(const std::function<void(const std::string&)>& tell) {
  const int64_t start_ms = world_.Now();
  faults_end_ms_ = start_ms + int64_t{60'000} * scenario_.minutes;
  const int64_t end_ms = faults_end_ms_ + int64_t{60'000} * scenario_.calm_minutes;
  for (int i = 0; i < kSchedulers; ++i) StepScheduler(i);
  for (Job& job : jobs_) world_.In(500, [this, &job] { Submit(job); });
  Keep(scenario_.worker_deaths, [this] {
    ++result_.worker_deaths;
    AnyWorker().Die();
  });
  Keep(scenario_.stalls, [this] { AnyWorker().Stall(); });
  Keep(scenario_.broken_streams, [this] {
    SimulatedWorker& worker = AnyWorker();
    if (worker.up()) worker.BreakStream();
  });
  Keep(scenario_.leader_deaths, [this] { KillLeader(); });
  Keep(scenario_.leader_freezes, [this] { FreezeLeader(); });
  Keep(scenario_.redis_restarts, [this] { RestartRedis(); });
  std::function<void()> save = [&] {
    if (world_.Now() < faults_end_ms_) Ask({"SAVE"});
    world_.In(kSaveMs, save);
  };
  if (scenario_.redis_restarts > 0) save();
  bool ended = false;
  std::function<void()> check = [&] {
    CheckProgress();
    ended = world_.Now() > faults_end_ms_ && AllEnded();
    if (tell != nullptr) {
      uint64_t done = 0;
      for (const Job& job : jobs_) done += job.seen;
      tell(absl::StrCat((world_.Now() - start_ms) / 1000, " s, ", done, " of ",
                        scenario_.variants * jobs_.size(), " committed"));
    }
    world_.In(kCheckMs, check);
  };
  check();
  while (!ended && result_.wrong.empty() && world_.Now() < end_ms) world_.Step();
  if (ended && result_.wrong.empty()) {
    for (int64_t until = world_.Now() + 40'000; world_.Now() < until;) world_.Step();  // leases end
    CheckEnd();
  } else if (result_.wrong.empty()) {
    const int which = Leader();
    Wrong(absl::StrCat("the faults ended ", scenario_.calm_minutes,
                       " minutes ago, and not every job has: ",
                       which < 0 ? "nobody leads"
                                 : (*schedulers_[which]->loop->FindJob(jobs_[0].id))
                                       ->ShortDebugString()
                                       .substr(0, 300)));
  }
  for (const auto& worker : workers_) result_.turns += worker->turns();
  result_.simulated_seconds = static_cast<double>(world_.Now() - start_ms) / 1000;
  result_.variants = scenario_.variants * jobs_.size();
  result_.last = {world_.last().begin(), world_.last().end()};
  result_.logged = world_.logged();
  result_.log_hash = world_.LogHash();
  return result_;
}

}  // namespace tiltshift::tests
