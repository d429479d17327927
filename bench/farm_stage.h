// A farm for a bench: a redis-server with its append-only file (everysec) and a scheduler of this
// build, as processes of their own on unix sockets, and what can be asked of them from outside.
#pragma once

#include <grpcpp/grpcpp.h>
#include <sched.h>

#include <memory>
#include <string>

#include "proto/farm.grpc.pb.h"
#include "store/redis_client.h"
#include "tests/support/process.h"
#include "tests/support/redis_server.h"

namespace tiltshift::bench {

// Seconds of processor time that a process has used.
double CpuSeconds(pid_t pid);

// Seconds that the machine's processors have been idle since it started, all of them together; what
// the hypervisor gave to others is not among them.
double IdleSeconds();

class FarmStage {
 public:
  // With leases of a second, so that simulated workers choose their size by the rate they report.
  // `divided`: on two processors, Redis and the scheduler's planning on the first, who serves the
  // clients on the second; and none of them, nor the calling thread and those it starts while this
  // lives, is interrupted by one that it wakes (SCHED_BATCH).
  explicit FarmStage(bool divided = false);
  ~FarmStage();

  const std::string& address() const { return address_; }
  store::RedisClient& redis() { return redis_client_; }
  std::string redis_address() const { return redis_->address(); }
  v1::Farm::Stub& farm() { return *farm_; }

  // A job of so many variants; its id.
  std::string Submit(uint64_t variants);
  // `jobs` of them, over several calls at once.
  void SubmitMany(int jobs, uint64_t variants);
  v1::Job Job(const std::string& id);
  void Cancel(const std::string& id);

  // Keeps the calling thread where the clients are served, until it goes out of scope.
  class BesideClients {
   public:
    explicit BesideClients(const FarmStage& stage);
    ~BesideClients();

   private:
    cpu_set_t before_;
  };

  double SchedulerCpu() const { return CpuSeconds(scheduler_->pid()); }
  double RedisCpu() const { return CpuSeconds(redis_pid_); }
  double SchedulerMiB() const;
  // A series of the scheduler's /metrics.
  double Metric(const std::string& series) const;

 private:
  struct Cores {
    std::string farm, clients;  // empty: any
  };
  static Cores Divide();

  const Cores cores_;
  const std::string folder_;
  const int metrics_port_;
  std::string address_;
  std::unique_ptr<tests::RedisServer> redis_;
  store::RedisClient redis_client_;
  pid_t redis_pid_ = 0;
  std::unique_ptr<tests::Process> scheduler_;
  std::unique_ptr<v1::Farm::Stub> farm_;
};

}  // namespace tiltshift::bench
