// The one thread that owns the Farm. Everything that happens is posted to it; it takes all that has
// come, lets the Farm decide, writes the batch to Redis in one round trip, and only then tells
// anyone (I2). While Redis is away it keeps the batch and tries again; what it holds is lost with
// the process, and was promised to no one.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "monitoring/metrics.h"
#include "scheduler/farm.h"
#include "store/farm_store.h"

namespace tiltshift::scheduler {

// A worker's open stream: where messages to it go. Called on the loop's thread.
class WorkerStream {
 public:
  virtual ~WorkerStream() = default;
  virtual void Send(const v1::SchedulerMessage& message) = 0;
};

// A client that watches a job. Called on the loop's thread: after a change, at most every 100 ms,
// and at least every 500 ms; after an ended job never again.
using JobWatcher = std::function<bool(const v1::Job& job)>;  // false: gone

struct LoopOptions {
  FarmOptions farm;
  std::string name;  // of this scheduler, unlike any other's
  int leader_ttl_ms = 3'000;
  uint32_t heartbeat_ms = 3'000;
};

class FarmLoop {
 public:
  FarmLoop(LoopOptions options, std::unique_ptr<store::FarmStore> store, const Clock& clock,
           monitoring::SchedulerMetrics& metrics);
  ~FarmLoop();

  // Waits until this scheduler leads (or `stop` says no more), then starts the thread.
  absl::Status Start(const std::function<bool()>& stop);
  void Stop();

  // Set where the loop had to end: another scheduler leads now. The process should exit.
  bool lost_lead() const { return lost_lead_.load(); }

  using Done = std::function<void(absl::Status)>;
  // `done` is called once, always: when the job is durable, with its id (an earlier one's where the
  // request was seen before), or Unavailable where the loop ended first. So with Cancel.
  void Submit(const std::string& job_id, const v1::JobSpec& spec, uint64_t variants,
              const std::string& request_id, std::function<void(absl::StatusOr<std::string>)> done);
  void Cancel(const std::string& job_id, Done done);
  void SetPaused(const std::string& job_id, bool paused, Done done);
  void SetPriority(const std::string& job_id, int32_t priority, Done done);
  void RetryFailed(const std::string& job_id, Done done);
  void Explain(const v1::ExplainRequest& request,
               std::function<void(absl::StatusOr<std::string>)> done);
  void Watch(const std::string& job_id, JobWatcher watcher, Done not_found);

  // A stream that says hello again under the same id takes the older one's place.
  void Connect(std::shared_ptr<WorkerStream> stream, const v1::Hello& hello);
  void Receive(std::shared_ptr<WorkerStream> stream, const std::string& worker_id,
               v1::WorkerMessage message);
  void Disconnect(const WorkerStream* stream, const std::string& worker_id);

  // What was durable at the last round; any thread. Null where there is no such job.
  std::shared_ptr<const v1::Job> Job(const std::string& id) const;
  std::vector<std::shared_ptr<const v1::Job>> NewestJobs(size_t limit) const;
  std::vector<v1::WorkerInfo> Workers() const;
  // Why nothing can be accepted now; OK where it can.
  absl::Status Health() const;

 private:
  struct Round;
  using Event = std::function<void(Round&)>;
  void Post(Event event);
  void Run();
  void RunRounds();
  bool RunRound(std::deque<Event> events);
  bool WriteRound(Round& round);
  int64_t RetryRedisMs();
  void CountCommits(const Batch& batch);
  void Publish(int64_t now_ms);
  void TellWatchers(int64_t now_ms);
  void ShowTrouble(const absl::Status& trouble);
  void EndTrouble();
  bool KeepLead();
  void Recover(Round& round);

  const LoopOptions options_;
  std::unique_ptr<store::FarmStore> store_;
  const Clock& clock_;
  monitoring::SchedulerMetrics& metrics_;
  std::unique_ptr<Farm> farm_;  // of the loop's thread
  std::map<std::string, std::shared_ptr<WorkerStream>> streams_;
  std::multimap<std::string, JobWatcher> watchers_;
  std::string redis_run_;    // the run of Redis that the Farm agrees with
  bool in_trouble_ = false;  // Redis is away
  Backoff backoff_;          // while it is there and refuses
  int64_t lead_renewed_ms_ = 0, told_ms_ = 0, told_all_ms_ = 0;
  std::set<std::string> to_watch_;
  Farm::Counts counted_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Event> events_;
  bool stopping_ = false;
  bool ended_ = false;  // no round runs any more
  absl::Status health_ = absl::UnavailableError("this scheduler does not lead yet");
  std::map<std::string, std::shared_ptr<const v1::Job>> views_;
  std::vector<std::string> view_order_;
  std::vector<v1::WorkerInfo> workers_;
  std::atomic<bool> lost_lead_{false};
  std::thread thread_;
};

}  // namespace tiltshift::scheduler
