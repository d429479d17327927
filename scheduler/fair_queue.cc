#include "scheduler/fair_queue.h"

#include <algorithm>
#include <vector>

namespace tiltshift::scheduler {

void FairQueue::SetWeight(const std::string& tenant, double weight) {
  tenants_[tenant].weight = weight;
}

bool FairQueue::Holds(const std::string& job, int64_t priority) const {
  const auto known = jobs_.find(job);
  return known != jobs_.end() && known->second.second.priority == priority;
}

void FairQueue::Put(const std::string& job, const std::string& tenant, int64_t priority,
                    uint64_t order) {
  if (Holds(job, priority)) return;
  Remove(job);
  Tenant& owner = tenants_[tenant];
  if (owner.jobs.empty()) owner.clock = std::max(owner.clock, clock_);
  const Job place = {priority, order, job};
  owner.jobs.insert(place);
  jobs_.emplace(job, std::make_pair(tenant, place));
}

void FairQueue::Remove(const std::string& job) {
  const auto known = jobs_.find(job);
  if (known == jobs_.end()) return;
  tenants_.at(known->second.first).jobs.erase(known->second.second);
  jobs_.erase(known);
}

std::string FairQueue::Offer(
    const std::function<bool(const std::string& job, double* seconds)>& take) {
  std::vector<Tenant*> waiting;
  for (auto& [name, tenant] : tenants_) {
    if (!tenant.jobs.empty()) waiting.push_back(&tenant);
  }
  if (waiting.size() > 1) {
    std::stable_sort(waiting.begin(), waiting.end(),
                     [](const Tenant* a, const Tenant* b) { return a->clock < b->clock; });
  }
  for (Tenant* tenant : waiting) {
    for (const Job& job : tenant->jobs) {
      double seconds = 0;
      if (!take(job.id, &seconds)) continue;
      clock_ = std::max(clock_, tenant->clock);
      tenant->clock += seconds / tenant->weight;
      return job.id;
    }
  }
  return "";
}

void FairQueue::Charge(const std::string& tenant, double seconds) {
  Tenant& owner = tenants_[tenant];
  owner.clock += seconds / owner.weight;
}

double FairQueue::Ahead(const std::string& tenant) const {
  const auto known = tenants_.find(tenant);
  return known == tenants_.end() ? 0 : known->second.clock - clock_;
}

uint64_t FairQueue::JobsBefore(const std::string& job) const {
  const auto known = jobs_.find(job);
  if (known == jobs_.end()) return 0;
  const Tenant& own = tenants_.at(known->second.first);
  uint64_t before = 0;
  for (const auto& [name, tenant] : tenants_) {
    if (&tenant != &own && tenant.clock < own.clock) before += tenant.jobs.size();
  }
  return before + std::distance(own.jobs.begin(), own.jobs.find(known->second.second));
}

}  // namespace tiltshift::scheduler
