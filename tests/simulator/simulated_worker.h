// A worker of the simulation: the production queue of leases, slots that take their time, and the
// session's protocol over messages that are late, come twice, or are lost with their stream.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "scheduler/farm_loop.h"
#include "tests/simulator/scenario.h"
#include "tests/simulator/world.h"
#include "worker/lease_queue.h"

namespace tiltshift::tests {

// What the workers know of the rest.
class SimulatedFarm {
 public:
  virtual ~SimulatedFarm() = default;
  virtual int Schedulers() const = 0;
  // The scheduler, where it answers now; null where it is down or frozen.
  virtual scheduler::FarmLoop* Reach(int scheduler) = 0;
  // Of which process of that scheduler a message is.
  virtual uint64_t Incarnation(int scheduler) const = 0;
  virtual bool Kills(const std::string& job, uint64_t index) = 0;
  virtual bool Breaks(const std::string& job, uint64_t index) = 0;
  virtual void Rendered(const std::string& job, uint64_t index) = 0;
  virtual void Killed(const std::string& job, uint64_t index) = 0;
  virtual void Granted(int scheduler, const v1::Lease& lease) = 0;
  // A scheduler says, this moment, that what the outcome commits is durable.
  virtual void Acknowledged(const v1::Outcome& outcome) = 0;
};

class SimulatedWorker {
 public:
  SimulatedWorker(World& world, SimulatedFarm& farm, const Scenario& scenario, int number,
                  double seconds_each, bool is_bad);

  void Start();
  void Die();          // and comes back after a while, as another
  void Stall();        // does nothing for a while, then goes on
  void BreakStream();  // what is under way on it is lost
  bool up() const { return queue_ != nullptr; }
  int scheduler() const;  // of its stream; -1: none
  uint64_t turns() const { return turns_; }

 private:
  class Stream;
  struct Slot {
    std::optional<worker::Work> work;
  };
  void Connect();
  void Receive(uint64_t generation, const v1::SchedulerMessage& message);
  void Acknowledges(const v1::TurnAck& ack);  // a scheduler, at its end
  void Take(const v1::Lease& lease);
  void Fill();
  void Finish(uint64_t life, size_t slot);
  void SendTurn(bool idle);
  void Idle(uint64_t generation);
  void Heartbeat(uint64_t generation);
  void Send(const v1::WorkerMessage& message);
  int64_t Delay();
  // Not while it is stalled: then later.
  void InMyTime(int64_t ms, std::function<void()> act);

  World& world_;
  SimulatedFarm& farm_;
  const Scenario scenario_;
  const int number_;
  const double seconds_each_;
  const bool is_bad_;
  uint64_t life_ = 0, generation_ = 0, turn_ = 0, turns_ = 0;
  std::string id_;
  std::unique_ptr<worker::LeaseQueue> queue_;  // null: dead
  std::vector<Slot> slots_;
  std::shared_ptr<Stream> stream_;
  int target_ = 0;
  bool welcomed_ = false;
  int64_t stalled_until_ms_ = 0, heard_ms_ = 0, last_out_ms_ = 0;
  std::map<uint64_t, v1::Turn> told_;  // on this stream, until they are acknowledged
};

}  // namespace tiltshift::tests
