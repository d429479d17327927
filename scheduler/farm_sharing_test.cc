// Fair share, priorities, stealing and what an operator may change: farms of simulated workers
// under a turned clock.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <queue>

#include "scheduler/farm.h"

namespace tiltshift::scheduler {
namespace {

using ::testing::HasSubstr;

v1::JobSpec Spec(const std::string& tenant, int32_t priority = 0) {
  v1::JobSpec spec;
  spec.set_tenant(tenant);
  spec.set_priority(priority);
  return spec;
}

// Workers that render one variant after the other, each at its own pace, and tell after each.
class Simulation {
 public:
  explicit Simulation(FarmOptions options = {}) : farm(options, 1) {}

  void AddWorker(const std::string& id, double seconds_each) {
    v1::Hello hello;
    hello.set_worker_id(id);
    hello.set_slots(1);
    Batch batch;
    farm.Connect(hello, now_ms, batch);
    workers[id].seconds = seconds_each;
    Turn(id, {});
  }

  // Until nothing more happens, or `until_ms`.
  void Run(int64_t until_ms = INT64_MAX) {
    while (!due.empty() && due.top().at_ms <= until_ms) {
      const auto [at, id, event] = due.top();
      due.pop();
      if (workers.at(id).event != event) continue;  // it has begun something else since
      now_ms = std::max(now_ms, at);
      Worker& worker = workers.at(id);
      std::vector<v1::Outcome> outcomes;
      if (worker.rendering) {
        Held& held = worker.held.at(worker.token);
        v1::Outcome& outcome = outcomes.emplace_back();
        outcome.set_token(worker.token);
        outcome.set_job_id(held.job);
        outcome.mutable_committed()->Add()->set_first(worker.index);
        outcome.mutable_committed(0)->set_count(1);
        outcome.set_render_seconds(worker.seconds);
        outcome.set_released(held.trimmed && held.next >= held.end);
        rendered[held.job] += 1;
        spent[held.job] += worker.seconds;
        worker.rendering = false;
        if (held.next >= held.end) worker.held.erase(worker.token);
      }
      Turn(id, outcomes);
    }
  }

  void Turn(const std::string& id, const std::vector<v1::Outcome>& outcomes) {
    v1::Turn turn;
    turn.set_want_leases(2);
    for (const auto& outcome : outcomes) *turn.add_outcomes() = outcome;
    v1::Heartbeat heartbeat;
    for (const auto& [token, held] : workers.at(id).held) heartbeat.add_held_tokens(token);
    farm.Heartbeat(id, heartbeat, now_ms);
    Batch batch;
    farm.TakeOutcomes(id, turn, now_ms, batch);
    std::vector<Outgoing> messages;
    farm.Assign(now_ms, batch, messages);
    Apply(batch);
    Deliver(messages);
    Begin(id);
    if (!workers.at(id).rendering) Wake(id, 200);  // it asks again
    if (Over()) due = {};
  }

  void Deliver(const std::vector<Outgoing>& messages) {
    for (const auto& [worker_id, message] : messages) {
      Worker& worker = workers.at(worker_id);
      if (message.has_lease()) {
        const auto& range = message.lease().range();
        worker.held[message.lease().token()] = {message.lease().job_id(), range.first(),
                                                range.first() + range.count()};
        Begin(worker_id);
      }
      if (message.has_trim() && worker.held.count(message.trim().token()) != 0) {
        Held& held = worker.held.at(message.trim().token());
        held.end = std::min(held.end, std::max(held.next, message.trim().end()));
        held.trimmed = true;
        const bool begun = worker.rendering && worker.token == message.trim().token();
        if (held.next < held.end || begun) continue;
        v1::Outcome outcome;
        outcome.set_token(message.trim().token());
        outcome.set_job_id(held.job);
        outcome.set_released(true);
        worker.held.erase(message.trim().token());
        v1::Turn turn;
        turn.set_want_leases(2);
        *turn.add_outcomes() = outcome;
        Batch batch;
        farm.TakeOutcomes(worker_id, turn, now_ms, batch);
        Apply(batch);
      }
    }
  }

  void Begin(const std::string& id) {
    Worker& worker = workers.at(id);
    if (worker.rendering) return;
    for (auto& [token, held] : worker.held) {
      if (held.next >= held.end) continue;
      worker.rendering = true;
      worker.token = token;
      worker.index = held.next++;
      Wake(id, static_cast<int64_t>(worker.seconds * 1000));
      return;
    }
  }

  void Wake(const std::string& id, int64_t in_ms) {
    due.push({now_ms + in_ms, id, ++workers.at(id).event});
  }

  void Apply(const Batch& batch) {
    for (const auto& [job, turns] : batch.jobs) {
      for (const auto& outcome : turns.outcomes) {
        for (const auto& range : outcome.committed) {
          for (uint64_t i = 0; i < range.count(); ++i) {
            EXPECT_TRUE(committed[job].insert(range.first() + i).second) << "committed twice";
          }
        }
      }
      farm.ApplyTotals(job, committed[job].size(), 0, now_ms);
    }
  }

  bool Over() {
    for (const std::string& id : farm.JobIds()) {
      if (farm.View(id, now_ms, false)->ended_unix_ms() == 0) return false;
    }
    return true;
  }

  struct Held {
    std::string job;
    uint64_t next = 0, end = 0;
    bool trimmed = false;
  };
  struct Worker {
    double seconds = 1;
    std::map<uint64_t, Held> held;
    bool rendering = false;
    uint64_t token = 0, index = 0;
    uint64_t event = 0;  // the last that was set for it
  };
  struct Due {
    int64_t at_ms;
    std::string id;
    uint64_t event;
    bool operator>(const Due& other) const { return at_ms > other.at_ms; }
  };

  Farm farm;
  int64_t now_ms = 1'000'000;
  std::map<std::string, Worker> workers;
  std::map<std::string, std::set<uint64_t>> committed;
  std::map<std::string, uint64_t> rendered;
  std::map<std::string, double> spent;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due;
};

TEST(Stealing, AWorkerTenTimesSlowerCostsUnderFivePercent) {
  Simulation farm;
  farm.farm.AddJob("j", Spec("t"), 4'000, farm.now_ms);
  const int64_t start = farm.now_ms;
  double a_second = 0;  // of the whole farm
  for (int i = 0; i < 8; ++i) {
    const double seconds = i == 0 ? 2.0 : 0.2;
    farm.AddWorker("w" + std::to_string(i), seconds);
    a_second += 1 / seconds;
  }
  farm.Run();
  EXPECT_EQ(farm.committed["j"].size(), 4'000u);
  const double ideal_ms = 4'000 / a_second * 1000;
  EXPECT_LT(farm.now_ms - start, ideal_ms * 1.05);
  EXPECT_GT(farm.farm.counts(0).stolen, 0u);
  EXPECT_LT(farm.rendered["j"], 4'010u) << "little is rendered twice";
}

TEST(Stealing, AnIdleWorkerTakesTheEndOfALongLease) {
  Simulation farm;
  farm.farm.AddJob("warm", Spec("t"), 40, farm.now_ms);
  farm.AddWorker("a", 0.1);
  farm.Run();
  farm.farm.AddJob("j", Spec("t"), 400, farm.now_ms);
  farm.Turn("a", {});
  farm.AddWorker("b", 0.1);  // its first lease measures it, the next ones are what is left
  farm.Run();
  EXPECT_EQ(farm.committed["j"].size(), 400u);
}

TEST(FairShare, TenantsRenderByWeight) {
  FarmOptions options;
  options.tenants["brand"] = {3, 0, 0};
  options.target_lease_ms = 2'000;
  Simulation farm(options);
  farm.farm.AddJob("brand", Spec("brand"), 100'000, farm.now_ms);
  farm.farm.AddJob("contest", Spec("contest"), 100'000, farm.now_ms);
  for (int i = 0; i < 8; ++i) farm.AddWorker("w" + std::to_string(i), i % 2 == 0 ? 0.1 : 0.3);
  farm.Run(farm.now_ms + 600'000);
  EXPECT_NEAR(farm.spent["brand"] / farm.spent["contest"], 3, 0.15);
}

TEST(FairShare, WhoWasAwayHasSavedNothingUp) {
  FarmOptions options;
  options.target_lease_ms = 1'000;
  Simulation farm(options);
  farm.farm.AddJob("early", Spec("early"), 100'000, farm.now_ms);
  farm.AddWorker("w", 0.1);
  farm.Run(farm.now_ms + 300'000);
  const double before = farm.spent["early"];
  farm.farm.AddJob("late", Spec("late"), 100'000, farm.now_ms);
  farm.Run(farm.now_ms + 300'000);
  EXPECT_NEAR((farm.spent["early"] - before) / farm.spent["late"], 1, 0.1);
}

TEST(FairShare, ATenantAtItsBoundWaits) {
  FarmOptions options;
  options.tenants["*"] = {1, 1, 5};
  Simulation farm(options);
  EXPECT_TRUE(farm.farm.MayAdd(Spec("t")).ok());
  farm.farm.AddJob("j", Spec("t"), 1'000, farm.now_ms);
  EXPECT_EQ(farm.farm.MayAdd(Spec("t")).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(farm.farm.MayAdd(Spec("u")).ok());
  for (int i = 0; i < 20; ++i) farm.AddWorker("w" + std::to_string(i), 1);
  farm.Run(farm.now_ms + 5'000);
  EXPECT_EQ(farm.farm.View("j", farm.now_ms, false)->leased(), 5u);
  EXPECT_THAT(*farm.farm.ExplainJob("j", farm.now_ms), HasSubstr("as many as it may"));
}

TEST(Priority, TheHigherGoesFirstAndCanChange) {
  FarmOptions options;
  options.target_lease_ms = 1'000;
  Simulation farm(options);
  farm.farm.AddJob("low", Spec("t"), 1'000, farm.now_ms);
  farm.farm.AddJob("high", Spec("t", 10), 1'000, farm.now_ms);
  farm.AddWorker("w", 0.1);
  farm.Run(farm.now_ms + 20'000);
  EXPECT_EQ(farm.rendered["low"], 0u);
  EXPECT_THAT(*farm.farm.ExplainJob("low", farm.now_ms), HasSubstr("1 job goes before it"));
  EXPECT_TRUE(farm.farm.SetPriority("low", 20));
  const uint64_t before = farm.rendered["high"];
  farm.Run(farm.now_ms + 20'000);
  EXPECT_GT(farm.rendered["low"], 150u);
  EXPECT_LT(farm.rendered["high"] - before, 40u);
}

TEST(Priority, AJobThatWouldMissItsDeadlineGoesFirst) {
  FarmOptions options;
  options.target_lease_ms = 1'000;
  Simulation farm(options);
  farm.farm.AddJob("first", Spec("t"), 10'000, farm.now_ms);
  v1::JobSpec spec = Spec("t");
  spec.set_deadline_unix_ms(farm.now_ms + 60'000);
  farm.farm.AddJob("urgent", spec, 300, farm.now_ms);
  farm.AddWorker("w", 0.1);
  farm.Run(farm.now_ms + 60'000);
  EXPECT_EQ(farm.committed["urgent"].size(), 300u);
}

TEST(Pause, NothingNewIsBegunUntilItIsResumed) {
  Simulation farm;
  farm.farm.AddJob("j", Spec("t"), 1'000, farm.now_ms);
  farm.AddWorker("w", 0.1);
  farm.Run(farm.now_ms + 10'000);
  std::vector<Outgoing> messages;
  ASSERT_TRUE(farm.farm.SetPaused("j", true, messages));
  farm.Deliver(messages);
  const uint64_t before = farm.rendered["j"];
  farm.Run(farm.now_ms + 20'000);
  EXPECT_LE(farm.rendered["j"], before + 1);
  EXPECT_EQ(farm.farm.View("j", farm.now_ms, false)->state(), v1::JOB_STATE_PAUSED);
  EXPECT_EQ(farm.farm.View("j", farm.now_ms, false)->leased(), 0u);
  EXPECT_THAT(*farm.farm.ExplainJob("j", farm.now_ms), HasSubstr("tiltshift resume j"));
  EXPECT_THAT(*farm.farm.ExplainVariant("j", 999, farm.now_ms), HasSubstr("the job is paused"));
  messages.clear();
  ASSERT_TRUE(farm.farm.SetPaused("j", false, messages));
  farm.Run();
  EXPECT_EQ(farm.committed["j"].size(), 1'000u);
}

TEST(Explain, SaysWhoHasAVariantAndWhyAWorkerIsIdle) {
  Simulation farm;
  farm.AddWorker("w", 1);
  EXPECT_THAT(*farm.farm.ExplainWorker("w", farm.now_ms),
              HasSubstr("is idle: no job has variants"));
  farm.farm.AddJob("j", Spec("t"), 10, farm.now_ms);
  EXPECT_THAT(*farm.farm.ExplainJob("j", farm.now_ms), HasSubstr("It is next"));
  farm.Turn("w", {});
  EXPECT_THAT(*farm.farm.ExplainVariant("j", 0, farm.now_ms), HasSubstr("is with worker w"));
  EXPECT_THAT(*farm.farm.ExplainWorker("w", farm.now_ms), HasSubstr("of j"));
  EXPECT_EQ(farm.farm.ExplainVariant("j", 10, farm.now_ms).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(farm.farm.ExplainWorker("x", farm.now_ms).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace tiltshift::scheduler
