// Whose turn it is: tenants share the farm by weight, and within a tenant the job of the highest
// priority goes first, of equals the oldest.
//
// Start-time fair queueing (Goyal, Vin and Cheng 1996) over render seconds: a tenant's clock moves
// on by what it is granted, divided by its weight, and the tenant whose clock is least goes next.
// One that had no work starts where the farm's clock is, so it can't save up. What a grant will
// cost is an estimate; Charge corrects it when the truth is known.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>

namespace tiltshift::scheduler {

class FairQueue {
 public:
  // Above 0; 1 where nothing was said.
  void SetWeight(const std::string& tenant, double weight);

  // A job that has work to give, in or out of the queue. `order`: how old it is, least first.
  void Put(const std::string& job, const std::string& tenant, int64_t priority, uint64_t order);
  void Remove(const std::string& job);
  bool Holds(const std::string& job, int64_t priority) const;
  bool empty() const { return jobs_.empty(); }

  // Offers jobs in the order of whose turn it is until `take` accepts one; its id, or empty. The
  // tenant is charged `seconds`, which `take` sets.
  std::string Offer(const std::function<bool(const std::string& job, double* seconds)>& take);

  // Corrects what a tenant was charged: more seconds, or, below 0, fewer.
  void Charge(const std::string& tenant, double seconds);

  // Render seconds a unit of weight, beyond the farm's clock: who has had less is before who has
  // had more.
  double Ahead(const std::string& tenant) const;
  // Jobs of other tenants, or of this one, that an offer comes to before this one.
  uint64_t JobsBefore(const std::string& job) const;

 private:
  struct Job {
    int64_t priority = 0;
    uint64_t order = 0;
    std::string id;
    bool operator<(const Job& other) const {
      return priority != other.priority ? priority > other.priority : order < other.order;
    }
  };
  struct Tenant {
    double weight = 1;
    double clock = 0;
    std::set<Job> jobs;
  };

  std::map<std::string, Tenant> tenants_;
  std::map<std::string, std::pair<std::string, Job>> jobs_;  // id -> tenant, place
  double clock_ = 0;  // of the farm: the last served tenant's
};

}  // namespace tiltshift::scheduler
