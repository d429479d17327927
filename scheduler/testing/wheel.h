// A Farm whose time and whose Redis are a test's.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "scheduler/farm.h"

namespace tiltshift::scheduler {

// Turns the wheels of a Farm by hand, with a Redis that is a set of committed indices a job: it
// refuses nothing twice and counts every commit.
class Wheel {
 public:
  explicit Wheel(FarmOptions options = {}) : options_(options), farm_(options, 1) {}

  // The tokens of `held` that are not the worker's any more.
  std::vector<uint64_t> Connect(const std::string& worker, uint32_t slots = 1,
                                const std::vector<uint64_t>& held = {}) {
    v1::Hello hello;
    hello.set_worker_id(worker);
    hello.set_slots(slots);
    for (const uint64_t token : held) hello.add_held_tokens(token);
    Batch batch;
    const auto lost = farm_.Connect(hello, now_ms, batch);
    Apply(batch);
    return lost;
  }

  // A turn: what is done under `token`, and how many leases are wanted. The leases that come of it.
  std::vector<v1::Lease> Turn(const std::string& worker, uint32_t want,
                              const std::vector<v1::Outcome>& outcomes = {}) {
    v1::Turn turn;
    turn.set_want_leases(want);
    for (const auto& outcome : outcomes) *turn.add_outcomes() = outcome;
    Batch batch;
    std::vector<Outgoing> messages;
    stale = farm_.TakeOutcomes(worker, turn, now_ms, batch);
    farm_.Assign(now_ms, batch, messages);
    Apply(batch);
    std::vector<v1::Lease> leases;
    for (const auto& message : messages) {
      if (message.worker_id == worker && message.message.has_lease())
        leases.push_back(message.message.lease());
      if (message.message.has_revoke()) revoked.push_back(message.message.revoke().token());
    }
    return leases;
  }

  void Cancel(const std::string& job) {
    Batch batch;
    std::vector<Outgoing> messages;
    farm_.CancelJob(job, now_ms, batch, messages);
    Apply(batch);
    for (const auto& message : messages) revoked.push_back(message.message.revoke().token());
  }

  void Apply(const Batch& batch) {
    for (const auto& [job, turns] : batch.jobs) {
      for (const auto& outcome : turns.outcomes) {
        for (const auto& range : outcome.committed) {
          for (uint64_t i = range.first(); i < range.first() + range.count(); ++i) {
            EXPECT_TRUE(committed[job].insert(i).second) << "variant " << i << " committed twice";
            EXPECT_EQ(failed[job].count(i), 0u);
          }
        }
        for (const auto& failure : outcome.failed) {
          if (!failure.is_final) continue;
          EXPECT_TRUE(failed[job].insert(failure.index).second);
        }
      }
      farm_.ApplyTotals(job, committed[job].size(), failed[job].size(), now_ms);
    }
  }

  v1::Job View(const std::string& job) { return *farm_.View(job, now_ms, false); }

  FarmOptions options_;
  Farm farm_;
  int64_t now_ms = 1'000'000;
  std::map<std::string, std::set<uint64_t>> committed, failed;
  std::vector<uint64_t> stale, revoked;
};

inline v1::Outcome Done(const v1::Lease& lease, double seconds_each = 1) {
  v1::Outcome outcome;
  outcome.set_token(lease.token());
  outcome.set_job_id(lease.job_id());
  *outcome.add_committed() = lease.range();
  outcome.set_render_seconds(seconds_each * lease.range().count());
  return outcome;
}

inline v1::Outcome Failed(const v1::Lease& lease, uint64_t index) {
  v1::Outcome outcome;
  outcome.set_token(lease.token());
  outcome.set_job_id(lease.job_id());
  auto& failed = *outcome.add_failed();
  failed.set_index(index);
  failed.set_reason("too dark");
  return outcome;
}

}  // namespace tiltshift::scheduler
