// The farm under a turned clock: production schedulers (FarmLoop, Farm, FarmStore) over a real
// Redis, simulated workers, and faults. Safety is checked all the time, liveness when the faults
// have stopped.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "monitoring/metrics.h"
#include "scheduler/farm_loop.h"
#include "store/redis_client.h"
#include "tests/simulator/scenario.h"
#include "tests/simulator/simulated_worker.h"
#include "tests/simulator/world.h"
#include "tests/support/redis_server.h"

namespace tiltshift::tests {

struct SimulationResult {
  std::string wrong;  // the first thing that was; empty: nothing
  std::string log_hash;
  std::vector<std::string> last;  // of the log
  double simulated_seconds = 0;
  uint64_t turns = 0, logged = 0, rendered = 0, variants = 0;
  int worker_deaths = 0, leaderships = 0, redis_restarts = 0;
};

class FarmSimulator : public SimulatedFarm {
 public:
  // Redis' files are in `folder`.
  FarmSimulator(const Scenario& scenario, uint64_t seed, const std::string& folder);
  ~FarmSimulator() override;

  // `tell` is called now and then with how far it is.
  SimulationResult Run(const std::function<void(const std::string&)>& tell = nullptr);

 private:
  struct Scheduler {
    monitoring::Registry registry;
    std::unique_ptr<monitoring::SchedulerMetrics> metrics;
    std::unique_ptr<scheduler::FarmLoop> loop;  // null: dead
    std::string name;
    uint64_t incarnation = 0, lead = 0;  // its lead is the so-manieth
    int64_t frozen_until_ms = 0, stood_by_ms = 0;
    bool led = false;
  };
  struct Job {
    std::string id, request;
    bool submitted = false;
    uint64_t seen = 0;  // committed, as a leader showed it last
    std::set<uint64_t> kills, breaks;
    std::map<uint64_t, int> killed;
    std::vector<uint8_t> rendered;  // how often, at most 255
  };

  int Schedulers() const override { return static_cast<int>(schedulers_.size()); }
  scheduler::FarmLoop* Reach(int scheduler) override { return schedulers_[scheduler]->loop.get(); }
  uint64_t Incarnation(int scheduler) const override { return schedulers_[scheduler]->incarnation; }
  bool Kills(const std::string& job, uint64_t index) override;
  bool Breaks(const std::string& job, uint64_t index) override;
  void Rendered(const std::string& job, uint64_t index) override;
  void Killed(const std::string& job, uint64_t index) override;
  void Granted(int scheduler, const v1::Lease& lease) override;
  void Acknowledged(const v1::Outcome& outcome) override;

  void StartScheduler(int which);
  void StepScheduler(int which);
  void LeadLapses(const std::string& name);
  int Leader() const;  // -1: none
  void KillLeader();
  void FreezeLeader();
  void RestartRedis();
  void Submit(Job& job);
  void Keep(double a_minute, std::function<void()> fault);
  SimulatedWorker& AnyWorker() { return *workers_[world_.Below(workers_.size())]; }

  void Wrong(const std::string& what);
  void CheckProgress();
  bool AllEnded();
  void CheckEnd();
  // In Redis: as done, or as failed, which it may have been before it was rendered after all.
  bool IsDurable(const std::string& job, uint64_t index);
  std::string Ask(const store::RedisCommand& command);

  const Scenario scenario_;
  World world_;
  RedisServer redis_;
  store::RedisClient client_;
  std::vector<std::unique_ptr<Scheduler>> schedulers_;
  std::vector<std::unique_ptr<SimulatedWorker>> workers_;
  std::vector<Job> jobs_;
  std::map<std::string, Job*> by_id_;
  int64_t faults_end_ms_ = 0, takes_up_until_ms_ = 0;
  std::map<uint64_t, std::string> holders_;  // by token: of what it was granted
  std::map<uint64_t, uint64_t> greatest_;    // token, by lead
  uint64_t leads_ = 0;
  SimulationResult result_;
};

}  // namespace tiltshift::tests
