// The one thread that owns the Farm. Everything that happens is posted to it; it takes what has
// come, or a part of it, lets the Farm decide, writes the batch to Redis in one round trip, and
// only then tells anyone (I2). While Redis is away it keeps the batch and tries again; what it
// holds is lost with the process, and was promised to no one.
//
// The thread leads or stands by. Standing by, it tries to lead about every second, and everything
// that is asked of it is refused with who leads. A lead that is lost (another epoch began) ends in
// standing by: whoever waits is told so, every stream ends, and nothing of that time is kept.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "access/token_book.h"
#include "base/clock.h"
#include "base/cpus.h"
#include "monitoring/metrics.h"
#include "scheduler/farm.h"
#include "store/farm_store.h"

namespace tiltshift::scheduler {

// A worker's open stream. Called on the loop's thread.
class WorkerStream {
 public:
  virtual ~WorkerStream() = default;
  // Its next message, one for each Receive: read on the loop's thread, which has the time that the
  // stream's own thread has not. One that can't be read, or may not be, ends the stream with the
  // error.
  virtual absl::StatusOr<v1::WorkerMessage> Next() = 0;
  virtual void Send(const v1::SchedulerMessage& message) = 0;
  // Nothing is sent after it.
  virtual void End(const absl::Status& why) = 0;
};

// A client that watches a job. Called on the loop's thread: after a change, at most every 100 ms,
// and at least every 500 ms; after an ended job never again.
using JobWatcher = std::function<bool(const v1::Job& job)>;  // false: gone

// Unavailable, with the advertised address of the scheduler that leads; empty: not known.
absl::Status NotLeading(const std::string& why, const std::string& leader);
// The address that a NotLeading names; nullopt where `status` is another.
std::optional<std::string> LeaderOf(const absl::Status& status);

using JobView = std::shared_ptr<const v1::Job>;

struct LoopOptions {
  FarmOptions farm;
  std::string name;       // of this scheduler, unlike any other's; without '@'
  std::string advertise;  // where clients and workers reach it, told by the standbys
  int leader_ttl_ms = 3'000;
  uint32_t heartbeat_ms = 3'000;
  Cpus cpus;  // the thread's, which is called "farm"
  access::TokenBook* tokens =
      nullptr;  // kept as Redis has them, also while standing by; null: none
  // Whether the blob store holds jobs: an empty Redis is not led then, it has lost them.
  std::function<absl::StatusOr<bool>()> blobs_hold_jobs = [] { return false; };
};

class FarmLoop {
 public:
  FarmLoop(LoopOptions options, std::unique_ptr<store::FarmStore> store, const Clock& clock,
           monitoring::SchedulerMetrics& metrics);
  ~FarmLoop();

  // Where browsers reach this scheduler's gallery. Before it starts.
  void ShowGallery(std::string url) { gallery_ = std::move(url); }
  // Starts the thread, standing by.
  void Start();
  // Gives up the lead, where it is held, so that another can have it at once.
  void Stop();
  // In place of Start, for simulations: what the thread would do next, on the caller's and without
  // waiting. Tries to lead, or takes what has come through one round.
  void Step();

  // Why the process must end: Redis is too old, or refused the very first login; what it holds is
  // damaged. OK while it need not.
  absl::Status failure() const;

  // OK while this scheduler leads. Else NotLeading, for everyone who asks anything.
  absl::Status Leading() const;

  using Done = std::function<void(absl::Status)>;
  // `done` is called once, always: when the job is durable, with its id (an earlier one's where the
  // request was seen before), or NotLeading where the lead ended first. So with Cancel.
  void Submit(const std::string& job_id, const v1::JobSpec& spec, uint64_t variants,
              const std::string& request_id, std::function<void(absl::StatusOr<std::string>)> done);
  // Whether a worker that is connected could render it; InvalidArgument names the field.
  void CheckDemands(const v1::JobSpec& spec, Done done);
  // A contest's spec with further batches, durable in the blob store; `done` as of Submit, with the
  // job as it is then. A later one has more variants; one with fewer changes nothing.
  void Append(const std::string& job_id, const v1::JobSpec& spec, uint64_t variants, Done done);
  // What has become of some of a job's variants.
  void FindProgress(const std::string& job_id, const v1::VariantRange& range,
                    std::function<void(absl::StatusOr<store::FarmStore::Progress>)> done);
  void FindFailures(const std::string& job_id, uint64_t first, size_t limit,
                    std::function<void(absl::StatusOr<store::FarmStore::Failures>)> done);
  // FailedPrecondition where the worker does not hold this lease, or it is another job's.
  void CheckLease(uint64_t token, const std::string& worker_id, const std::string& job_id,
                  Done done);
  void Cancel(const std::string& job_id, Done done);
  void SetPaused(const std::string& job_id, bool paused, Done done);
  void SetPriority(const std::string& job_id, int32_t priority, Done done);
  void RetryFailed(const std::string& job_id, Done done);
  // A new token of a caller, or a known one that was revoked: in the book once it is durable.
  void PutToken(const v1::StoredToken& token, Done done);
  void Explain(const v1::ExplainRequest& request,
               std::function<void(absl::StatusOr<std::string>)> done);
  // `end` is called at most once, where there is no such job or the lead ends before the job.
  void Watch(const std::string& job_id, JobWatcher watcher, Done end);

  // A stream that says hello again under the same id takes the older one's place. Ended with the
  // lead.
  void Connect(std::shared_ptr<WorkerStream> stream, const v1::Hello& hello);
  // A message of the worker has come.
  void Receive(std::shared_ptr<WorkerStream> stream, const std::string& worker_id);
  void Disconnect(const WorkerStream* stream, const std::string& worker_id);

  // What was durable at the last round; any thread. NotFound where there is no such job, NotLeading
  // where this scheduler can't know.
  absl::StatusOr<JobView> FindJob(const std::string& id) const;
  absl::StatusOr<std::vector<JobView>> NewestJobs(size_t limit,
                                                  const std::string& tenant) const;  // "": any
  absl::StatusOr<std::vector<v1::WorkerInfo>> Workers() const;
  // Where the leader's gallery is; empty where nobody said; nothing where this scheduler leads.
  std::optional<std::string> GalleryOfLeader() const;
  // What there is to do, as of the last half second; standing by, as of what the leader said.
  absl::StatusOr<Farm::Queue> Queue() const;
  // Why nothing can be accepted now (it stands by, Redis is away); OK where it can.
  absl::Status Health() const;

 private:
  struct Round;
  struct Watcher {
    JobWatcher see;
    Done end;
  };
  using Act = std::function<void(Round&)>;
  // A message of a worker, which is most of them, or anything else.
  struct Event {
    std::shared_ptr<WorkerStream> stream;
    std::string worker_id;
    int64_t received_ms = 0;
    Act act;
  };
  void Post(Act act) { Post(Event{nullptr, "", 0, std::move(act)}); }
  void Post(Event event);
  void TakeMessage(const Event& event, Round& round);
  JobView Job(const std::string& id) const;  // null where there is none
  void Run();
  bool StandBy();
  absl::Status TryToLead();
  absl::Status CheckNothingIsLost();
  absl::Status LoadTokens();
  void StepDown();
  void ShowStandby(const absl::Status& why);
  std::deque<Event> TakeEvents(bool all);
  void RunRounds();
  bool RunRound(std::deque<Event> events);
  bool WriteRound(Round& round);
  void SendAll(Round& round);
  int64_t RetryRedisMs();
  bool Stopping() const;
  void LogTurns(const Batch& batch);
  void CountCommits(const Batch& batch);
  void Publish(int64_t now_ms);
  void PublishWorkers(int64_t now_ms);
  void CountRenders();
  void PublishQueue(int64_t now_ms);
  void ShowQueue(const Farm::Queue& queue);
  void CountView(const v1::Job& job, int by);
  void TellWatchers(int64_t now_ms);
  void ShowTrouble(const absl::Status& trouble);
  void EndTrouble();
  bool KeepLead();
  void TakeEpoch(uint64_t epoch);
  void Recover(Round& round);

  const LoopOptions options_;
  const std::string name_;  // in Redis: with the address that is advertised
  std::string gallery_;
  std::unique_ptr<store::FarmStore> store_;
  const Clock& clock_;
  monitoring::SchedulerMetrics& metrics_;
  std::unique_ptr<Farm> farm_;  // of the loop's thread
  std::unordered_map<std::string, std::shared_ptr<WorkerStream>> streams_;
  std::multimap<std::string, Watcher> watchers_;
  uint64_t epoch_ = 0;       // the lead's; the Farm's may be an earlier one
  std::string redis_run_;    // the run of Redis that the Farm agrees with
  bool in_trouble_ = false;  // Redis is away
  Backoff backoff_;          // while it is there and refuses
  int64_t lead_renewed_ms_ = 0, told_ms_ = 0, told_all_ms_ = 0, published_ms_ = 0;
  int64_t looked_ms_ = 0, kept_queue_ms_ = 0;
  bool reordered_ = false;  // the Farm has taken its jobs up anew
  std::set<std::string> to_watch_;
  Farm::Counts counted_;
  absl::Status lost_;      // why the lead ended
  bool stood_by_ = false;  // Redis has let us in once
  bool blobs_hold_jobs_ = false;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Event> events_;
  bool stopping_ = false;
  bool leading_ = false;  // events are taken
  absl::Status failure_;
  absl::Status health_ = NotLeading("this scheduler does not lead yet", "");
  std::map<std::string, JobView> views_;
  std::vector<std::string> view_order_;
  std::vector<v1::WorkerInfo> workers_;
  std::optional<Farm::Queue> queue_;  // the leader's, also where this one stands by
  std::string leader_gallery_;        // while standing by
  std::thread thread_;
};

}  // namespace tiltshift::scheduler
