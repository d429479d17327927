// The leases a worker holds, cut into variants for its slots, and what the slots made of them.
// Between the session's threads and the slots' threads; all calls are safe from any.
//
// A variant is taken by one slot once. Its outcome waits here until the scheduler has acknowledged
// the turn that carried it; after a lost stream it goes out again.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "plan/plan.h"
#include "proto/worker.pb.h"

namespace tiltshift::worker {

// One variant to render.
struct Work {
  uint64_t token = 0;
  std::string job_id;
  uint64_t index = 0;
  std::shared_ptr<const plan::Plan> plan;
};

class LeaseQueue {
 public:
  // A lease from the scheduler. InvalidArgument where its spec is missing or is no plan.
  absl::Status Add(const v1::Lease& lease);
  // The lease is not ours any more: what of it no slot has begun is dropped, and outcomes are
  // forgotten.
  void Drop(uint64_t token);

  // What of the lease no slot has begun, from `end` on, is not begun any more; it is given back
  // when the begun is finished.
  void Trim(uint64_t token, uint64_t end);

  // Blocks for the next variant; nullopt after Close.
  std::optional<Work> Take();
  // Without blocking: nullopt where there is none now.
  std::optional<Work> TakeIfThere();
  // `bytes`: of the output; `stages`: where the seconds went, and those of storing it.
  void Finish(const Work& work, double seconds, uint64_t bytes = 0,
              const v1::StageSeconds& stages = {});
  // `vetoed`: it is not to be tried again.
  void Fail(const Work& work, const std::string& reason, bool vetoed = false);

  // Not rendered, and not the variant's fault: it goes back to the farm with the rest of its lease.
  void Return(const Work& work);

  // No further variant is given out; slots finish what they have.
  void Close();
  bool Closed() const;

  std::vector<uint64_t> HeldTokens() const;
  bool Holds(uint64_t token) const;
  // A slot is at work on a variant of a lease held.
  bool Renders() const;

  // Blocks until there is something to tell, `wait_ms` passed, or a wake; then all that is new, as
  // one turn numbered `turn`. A closed queue releases its leases when their slots are done.
  v1::Turn NextTurn(uint64_t turn, int wait_ms, bool& something);
  void Acknowledge(const v1::TurnAck& ack);
  // After a reconnect: what was sent and not acknowledged is new again.
  void Unsend();
  void Wake();

 private:
  struct LeaseState {
    std::string job_id;
    std::shared_ptr<const plan::Plan> plan;
    uint64_t next = 0, end = 0, rendering = 0;
    v1::Outcome outcome;  // not sent yet
    bool has_news = false;
    bool trimmed = false;   // its rest is to be given back
    bool released = false;  // said so in a turn
  };
  std::optional<Work> Next();
  bool Over(const LeaseState& lease) const;
  bool MustRelease(const LeaseState& lease) const;
  bool IsSent(uint64_t token) const;  // in a turn not yet acknowledged
  void AddNews(const Work& work, LeaseState& lease);

  mutable std::mutex mutex_;
  std::condition_variable work_ready_, news_ready_;
  std::map<uint64_t, LeaseState> leases_;
  std::map<std::string, std::shared_ptr<const plan::Plan>> plans_;
  std::map<uint64_t, std::vector<v1::Outcome>> sent_;  // by turn
  bool closed_ = false, woken_ = false;
};

}  // namespace tiltshift::worker
