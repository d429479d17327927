// The scheduler's decisions, pure: events and the time go in, leases and writes come out. No I/O,
// no clock, no threads, so that tests can turn every wheel by hand.
//
// Invariants: a variant of a job that has not ended is in exactly one place: committed, failed,
// pending, or in the remainder of one lease. Tokens only rise. A lease dies by being finished,
// released, expired or revoked, and its remainder then goes back to pending.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "access/rate_limits.h"
#include "proto/farm.pb.h"
#include "proto/worker.pb.h"
#include "scheduler/fair_queue.h"
#include "scheduler/pending.h"
#include "scheduler/placement.h"
#include "store/farm_store.h"

namespace tiltshift::scheduler {

// What a tenant may have of the farm. Zeros are no bound.
struct TenantRule {
  double weight = 1;    // its share beside the others' weights
  uint64_t jobs = 0;    // that have not ended
  uint64_t leased = 0;  // variants with workers at once
  uint64_t stored = 0;  // bytes of outputs
  uint64_t photos = 0;  // bytes of photos that are not destroyed yet
  access::RateRule rates;
};

struct FarmOptions {
  int64_t lease_ttl_ms = 15'000;
  int64_t target_lease_ms = 30'000;  // work a lease should hold at the worker's rate
  uint32_t failed_attempts = 3;      // a variant that fails so often has failed
  uint32_t lost_alone = 3;           // workers lost over a variant until it is given up: the first
                                     // with it among others, the rest with it alone
  int64_t backoff_ms = 500;          // before the second attempt; doubles, at most 30 s
  std::map<std::string, TenantRule> tenants;  // those without a rule have the one of "*", if any
};

v1::VariantRange ToProto(const Range& range);

// What one round of events decided and Redis must hear, in this order.
struct Batch {
  std::map<std::string, std::string>
      bound;  // strict jobs, to the render class of their first lease
  std::map<std::string, store::JobTurns> jobs;  // outcomes and grants
  std::vector<uint64_t> releases;               // of all jobs
};

// What a worker is sent when the batch is durable.
struct Outgoing {
  std::string worker_id;
  v1::SchedulerMessage message;
};

class Farm {
 public:
  Farm(FarmOptions options, uint64_t epoch) : options_(options), epoch_(epoch) {}

  // Takes up where an earlier leader stopped: live leases keep their tokens and get a fresh
  // deadline.
  void Restore(const store::StoredFarm& stored, int64_t now_ms);

  // Redis came back, perhaps without its last second: takes up what it has. Variants whose commit
  // is gone wait again, leases that are gone are revoked, and those that only Redis still has end.
  // Workers stay as they are.
  void Reconcile(const store::StoredFarm& stored, int64_t now_ms, Batch& batch,
                 std::vector<Outgoing>& messages);

  // A job that is durable already.
  void AddJob(const std::string& id, const v1::JobSpec& spec, uint64_t variants, int64_t now_ms);

  // A contest has further entries: `spec` and `variants` are the job's from now on. Nothing where
  // it has as many or is cancelled. Workers are sent the spec again.
  void Extend(const std::string& id, const v1::JobSpec& spec, uint64_t variants);

  // False where there is none. Revokes its leases.
  bool CancelJob(const std::string& id, int64_t now_ms, Batch& batch,
                 std::vector<Outgoing>& messages);

  // False where there is none, or, of pausing, where it has ended. Workers finish what they have
  // begun.
  bool SetPaused(const std::string& id, bool paused, std::vector<Outgoing>& messages);
  bool SetPriority(const std::string& id, int32_t priority);
  // Takes up a job as it is stored once its failures are forgotten: all of them wait again.
  void Retry(const store::StoredJob& stored, int64_t now_ms);
  // InvalidArgument, with the field's path, for what no connected worker with the job's model can
  // do with it.
  absl::Status CheckDemandsOf(const v1::JobSpec& spec) const;
  // Likewise; ResourceExhausted where the tenant has as many jobs as it may.
  absl::Status MayAdd(const v1::JobSpec& spec) const;

  // Why it is where it is, in a few sentences. NotFound where there is no such thing.
  absl::StatusOr<std::string> ExplainJob(const std::string& id, int64_t now_ms) const;
  absl::StatusOr<std::string> ExplainVariant(const std::string& id, uint64_t index,
                                             int64_t now_ms) const;
  absl::StatusOr<std::string> ExplainWorker(const std::string& id, int64_t now_ms) const;

  // A worker's stream began or ended. Returns the tokens of `hello` that are not its own any more.
  // Leases that it does not name never reached it: they wait again, and count as no death.
  std::vector<uint64_t> Connect(const v1::Hello& hello, int64_t now_ms, Batch& batch);
  void Disconnect(const std::string& worker_id);
  void Drain(const std::string& worker_id);

  // Takes outcomes in; those under stale tokens are refused and returned.
  std::vector<uint64_t> TakeOutcomes(const std::string& worker_id, const v1::Turn& turn,
                                     int64_t now_ms, Batch& batch);
  // Whether the worker holds the lease, and it is of this job.
  bool HasLease(const std::string& worker_id, uint64_t token, const std::string& job_id) const;
  void Heartbeat(const std::string& worker_id, const v1::Heartbeat& heartbeat, int64_t now_ms);

  // Expires leases, then gives every worker that wants leases what there is.
  void Assign(int64_t now_ms, Batch& batch, std::vector<Outgoing>& messages);

  // The totals Redis answered for a job's commit.
  void ApplyTotals(const std::string& job_id, uint64_t committed, uint64_t failed, int64_t now_ms);

  // null where there is none. `with_spec` copies the spec in.
  std::unique_ptr<v1::Job> View(const std::string& id, int64_t now_ms, bool with_spec) const;
  const std::vector<std::string>& JobIds() const { return order_; }  // oldest first
  std::vector<v1::WorkerInfo> Workers(int64_t now_ms) const;

  // Every job that has not ended counts as changed.
  void TouchActive();

  // Jobs whose view changed since the last call.
  std::vector<std::string> TakeChanged();

  struct Counts {
    uint64_t pending = 0, leases = 0, workers = 0, granted = 0, expired = 0, retried = 0;
    uint64_t stolen = 0, benched = 0, quarantined = 0;
    uint64_t idle = 0, busy = 0, draining = 0, on_bench = 0;  // workers
  };
  Counts counts(int64_t now_ms) const;

  // What there is to do of a model on a kind of device, paused jobs left out, in seconds of one
  // worker: as its job's variants took, else its model's, else everybody's.
  struct Load {
    std::string model, device;  // "any": the job does not say
    double waiting_seconds = 0, remaining_seconds = 0;
  };
  struct Queue {
    std::vector<Load> loads;
    double oldest_waiting_seconds = 0;
  };
  Queue LookAtQueue(int64_t now_ms);
  // What workers told of variants committed since the last call, by job and kind of device.
  struct Renders {
    uint64_t images = 0;
    double seconds = 0;  // of one worker
    v1::StageSeconds stages;
  };
  void TakeRenders(const std::function<void(const v1::JobSpec& spec, const char* device,
                                            const Renders& renders)>& take);
  uint64_t epoch() const { return epoch_; }
  uint64_t stored_bytes(const std::string& job_id) const { return jobs_.at(job_id).stored_bytes; }

 private:
  static constexpr size_t kDevices = 3;  // cpu, cuda, other

  struct JobState {
    std::string id;
    v1::JobSpec spec;
    std::string renders_with;  // the model and the set of LoRAs, as workers call what they loaded
    uint64_t variants = 0, committed = 0, failed = 0, leased = 0;
    int64_t submitted_ms = 0, started_ms = 0, ended_ms = 0;
    bool cancelled = false, paused = false, late = false;  // late: at this rate, for its deadline
    int32_t priority = 0;
    uint64_t stored_bytes = 0;
    std::string render_class;    // that a strict job is bound to
    int64_t passed_over_ms = 0;  // a worker took another job, whose model it had; 0: no
    uint64_t order = 0;          // how old it is
    Pending pending;
    std::map<uint64_t, uint32_t> attempts;
    std::map<uint64_t, v1::FailedVariant> failures;
    std::map<uint64_t, std::string> failed_by;  // workers; of variants that wait to be tried again
    std::map<std::string, int64_t> pauses;      // by worker: it gets nothing of this job until then
    std::deque<std::pair<int64_t, uint64_t>> recent;  // (when, committed in all)
    int64_t waiting_since_ms = 0;                     // 0: nothing waits
    double seconds_per_variant = 0;                   // of one worker; 0: not known
    std::array<Renders, kDevices> renders;
    bool in_rendered = false, in_changed = false;
    bool ended() const { return ended_ms != 0; }
    uint64_t left() const { return variants - committed - failed; }
    double images_per_second() const;  // over the last minute
  };
  struct WorkerState;
  struct LeaseState {
    JobState* job = nullptr;
    WorkerState* worker = nullptr;
    std::vector<Range> remaining;
    uint32_t lost = 0;
    int64_t deadline_ms = 0;
    bool suspect = false;     // its worker holds nothing else
    double seconds_each = 0;  // what its tenant was charged for a variant
  };
  struct WorkerState {
    std::string id;
    v1::Hello hello;
    bool connected = false, draining = false, in_wanting = false;
    uint32_t want = 0;
    double seconds_per_variant = 0;  // of the whole worker; 0: not known yet
    uint64_t committed = 0;
    int64_t connected_ms = 0;
    std::set<std::string> knows_jobs;  // specs sent over this stream
    std::set<uint64_t> tokens;
    std::set<std::string> loaded;                     // models in its memory
    std::map<std::string, uint32_t> failed_in_a_row;  // by job
    uint32_t rendered_by_others = 0, times_benched = 0;
    int64_t benched_until_ms = 0;
    size_t device = 0;  // its kind, below kDevices
    std::optional<v1::DeviceStatus> device_status;
    uint32_t slots_busy = 0;
    std::string last_failure, bench_reason;
  };

  // Returns false where the worker is to drop the lease.
  bool TakeOutcome(const v1::Outcome& outcome, LeaseState& lease, int64_t now_ms, Batch& batch);
  void NoteRenders(JobState& job, const WorkerState& worker, const v1::Outcome& outcome,
                   uint64_t variants, double share);
  double SecondsPerVariant(const JobState& job) const;
  static size_t DeviceNumber(const std::string& kind);
  void TakeFailure(JobState& job, const v1::FailedVariant& failed, int64_t now_ms,
                   store::StoredOutcome& stored);
  void EndLease(uint64_t token, int64_t ready_ms, uint32_t lost, Batch& batch);
  // Of a lease that Redis gave back, what its worker still had: it is done with the rest, which
  // waits again at once, not only when the lease's time is up.
  void Narrow(uint64_t token, const std::vector<Range>& to, int64_t now_ms, Batch& batch);
  void GiveUp(uint64_t token, Batch& batch);
  void Expire(int64_t now_ms, Batch& batch, std::vector<Outgoing>& messages);
  bool GrantOne(WorkerState& worker, int64_t now_ms, Batch& batch, std::vector<Outgoing>& messages);
  bool HoldsSuspect(const WorkerState& worker) const;
  uint64_t LeaseSize(const JobState& job, const WorkerState& worker);
  uint64_t Takers();
  void GrantRange(JobState& job, const PendingRange& range, WorkerState& worker, int64_t now_ms,
                  Batch& batch, std::vector<Outgoing>& messages);
  bool StealOne(WorkerState& worker, int64_t now_ms, Batch& batch, std::vector<Outgoing>& messages);
  // Seconds until the worker has rendered all it holds; 0 where its rate is not known.
  double SecondsHeld(const WorkerState& worker) const;
  JobState* PlaceFor(WorkerState& worker, bool with_its_models, int64_t now_ms,
                     std::optional<PendingRange>& taken);
  uint64_t StoredBy(const std::string& tenant) const;
  std::string WhyNobody(const JobState& job, int64_t now_ms) const;
  bool IsBenched(const WorkerState& worker, int64_t now_ms) const;
  bool HasStandIn(const WorkerState& worker, const JobState& job, int64_t now_ms) const;
  bool FailedBy(const WorkerState& worker, const JobState& job, uint64_t index,
                int64_t now_ms) const;
  bool Pauses(const WorkerState& worker, const JobState& job, int64_t now_ms) const;
  bool NoteFailure(WorkerState& worker, JobState& job, uint64_t index, const std::string& reason,
                   int64_t now_ms);
  void NoteCommit(WorkerState& worker, JobState& job, const Range& range, int64_t now_ms);
  void Blame(WorkerState& worker, const JobState& job, int64_t now_ms);
  const TenantRule& RuleOf(const std::string& tenant) const;
  void AddLeased(JobState& job, int64_t variants);
  void AddStored(JobState& job, uint64_t bytes);
  // Puts the job into the queue, or takes it out, as it now is.
  void Requeue(const JobState& job);
  void RaiseLate(int64_t now_ms);

  JobState& NewJob(const std::string& id, const v1::JobSpec& spec);
  WorkerState& WorkerCalled(const std::string& id);  // a new one where there is none
  void Want(WorkerState& worker);
  void Changed(JobState& job);

  const FarmOptions options_;
  const uint64_t epoch_;
  uint64_t last_token_ = 0;
  std::map<std::string, JobState> jobs_;
  std::vector<std::string> order_;  // jobs by submission
  std::set<std::string> active_;
  std::map<uint64_t, LeaseState> leases_;
  std::vector<uint64_t>
      over_;  // leases in Redis that hold nothing any more; released at the next Assign
  std::map<std::string, WorkerState> workers_;
  std::vector<WorkerState*> wanting_;  // connected ones that may want another lease, by arrival
  std::vector<JobState*> changed_;
  FairQueue queue_;                                  // of jobs with variants to lease
  std::map<std::string, uint64_t> leased_, stored_;  // by tenant
  int64_t looked_late_ms_ = 0, steal_after_ms_ = 0;
  int64_t expire_after_ms_ = 0;     // no lease ends before
  std::optional<uint64_t> takers_;  // workers that may be given leases; unset: to be counted
  uint64_t granted_ = 0, expired_ = 0, retried_ = 0, stolen_ = 0, benched_ = 0, quarantined_ = 0;
  std::vector<JobState*> rendered_;              // with Renders to take
  std::map<std::string, double> model_seconds_;  // of a variant, by model; "": of any
};

}  // namespace tiltshift::scheduler
