// The farm's durable truth in Redis: jobs, progress bitmaps, leases, the leader's epoch. Every
// write is a Redis Function (farm_functions.lua) that checks the epoch first, and a commit its
// lease's token as well (I3). Writes are idempotent: sending one again after a lost connection
// changes nothing more (I1).
//
// Keys, sizes and who writes them: docs/redis.md.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/status.h"
#include "proto/job.pb.h"
#include "proto/tokens.pb.h"
#include "store/farm_functions.h"
#include "store/redis_client.h"

namespace tiltshift::store {

// Of what is in Redis (docs/redis.md): 1 had no number yet. A scheduler reads every one up to its
// own, and what it leads is of its own from then on.
constexpr uint64_t kNewestSchema = 2;

struct StoredLease {
  uint64_t token = 0;
  std::string job_id;
  uint64_t first = 0;
  uint64_t count = 0;
  uint32_t lost = 0;  // how many workers died over this range before
  std::string worker_id;
};

struct StoredJob {
  std::string id;
  v1::JobSpec spec;
  uint64_t variants = 0, committed = 0, failed = 0;
  int64_t submitted_ms = 0, started_ms = 0, ended_ms = 0;
  bool cancelled = false, paused = false;
  std::optional<int32_t> priority;           // where it was changed
  uint64_t stored_bytes = 0;                 // of its outputs
  std::string render_class;                  // that a strict job is bound to
  std::string done_bits, failed_bits;        // only of jobs that have not ended
  std::map<uint64_t, uint32_t> attempts;     // failed attempts by variant, likewise
  std::map<uint64_t, std::string> failures;  // reasons, at most 20
};

struct StoredFarm {
  std::vector<StoredJob> jobs;  // by time of submission
  std::vector<StoredLease> leases;
  uint64_t last_token = 0;
};

struct StoredFailure {
  uint64_t index = 0;
  bool is_final = false;
  uint32_t attempts = 0;
  std::string reason;
};

struct StoredOutcome {
  uint64_t token = 0;
  std::vector<v1::VariantRange> committed;
  std::vector<StoredFailure> failed;
};

// What a round made of a job.
struct JobTurns {
  std::vector<StoredOutcome> outcomes;
  std::vector<StoredLease> grants;
  std::vector<uint64_t> releases;  // leases that ended, of any job
  uint64_t stored_bytes = 0;       // of all the job's outputs, where there are outcomes
};

// One write of a group: built by the make functions below, sent by FarmStore::WriteAll.
struct Write {
  FunctionCall call;
};

class FarmStore {
 public:
  explicit FarmStore(RedisAddress redis);

  // Unimplemented below Redis 6. Asked once a connection.
  absl::Status CheckServer();
  // Unimplemented where a newer scheduler has led here: what it wrote may mean something else.
  absl::Status CheckSchema();
  // Checks the server and gives it the functions of this build in place of those it has, and its
  // schema's number: only for who leads. Calls by others load them where there are none at all.
  absl::Status Prepare();

  // Takes the lead, or keeps it where `epoch` is the one held. The epoch, a new one where Redis
  // came back without the one held; or FailedPrecondition that names who leads. A new epoch is
  // greater than the last one by a random step: of two leaderships that began after the same one,
  // because a Redis came back without the first of them, each is stale for the other (I3).
  absl::StatusOr<uint64_t> Lead(const std::string& name, int ttl_ms, uint64_t epoch);
  absl::Status Resign(const std::string& name, uint64_t epoch);
  // The name of who leads, as the last call of Lead heard it; empty where nobody was there.
  const std::string& leader() const { return leader_; }

  // Everything a new leader needs. `between` is called between jobs; its error ends the loading.
  absl::StatusOr<StoredFarm> Load(const std::function<absl::Status()>& between = nullptr);
  absl::StatusOr<StoredJob> LoadJob(const std::string& id);

  // What has become of some variants of a job.
  struct Progress {
    std::vector<bool> committed, failed;
    std::map<uint64_t, std::string> reasons;  // of those that failed
  };
  absl::StatusOr<Progress> LoadProgress(const std::string& id, const v1::VariantRange& range);
  // Variants that failed for good, from `first` on and by rising index: at most `limit`, and where
  // they lie far apart perhaps fewer.
  struct Failures {
    std::vector<StoredFailure> failed;
    uint64_t next = 0;  // where to go on; 0: these were the last
  };
  absl::StatusOr<Failures> LoadFailures(const std::string& id, uint64_t first, size_t limit);

  // Whether a scheduler has ever led here: false of a Redis that is new, or that lost everything.
  absl::StatusOr<bool> HasEpoch();
  // Keys beside those that come by themselves: 0 where the database has nothing to lose.
  absl::StatusOr<uint64_t> KeysOfOthers();

  // What the leader last said of what there is to do, for those that stand by: forgotten after
  // `ttl_ms`, and fenced by nothing. Empty where nobody has.
  absl::Status KeepQueue(const std::string& queue, int ttl_ms);
  absl::StatusOr<std::string> LoadQueue();
  // Likewise the address of the leader's gallery.
  absl::Status KeepGallery(const std::string& url, int ttl_ms);
  absl::StatusOr<std::string> LoadGallery();

  // Which run of which server holds the data. A new one may lack what the last one had not yet
  // written to its file. Costs a round trip only after a reconnect.
  absl::StatusOr<std::string> RunId();

  static Write Submit(uint64_t epoch, const std::string& job_id, const v1::JobSpec& spec,
                      uint64_t variants, int64_t now_ms, const std::string& request_id);
  // A contest's spec with further batches.
  static Write Append(uint64_t epoch, const std::string& job_id, const v1::JobSpec& spec,
                      uint64_t variants);
  // `job_id` is empty where leases ended and nothing else happened. The reply: the job's committed
  // and failed variants in all, where there were outcomes, and those of their tokens that are no
  // live lease of the job: outcomes change nothing then.
  static Write Turns(uint64_t epoch, const std::string& job_id, const JobTurns& turns,
                     int64_t now_ms);
  static Write Cancel(uint64_t epoch, const std::string& job_id, int64_t now_ms);

  static Write SetPaused(uint64_t epoch, const std::string& job_id, bool paused);
  static Write SetPriority(uint64_t epoch, const std::string& job_id, int32_t priority);
  static Write SetRenderClass(uint64_t epoch, const std::string& job_id,
                              const std::string& render_class);
  static Write Retry(uint64_t epoch, const std::string& job_id);

  // Of callers; what is kept of one that was revoked says so (farm_tokens.cc).
  static Write PutToken(uint64_t epoch, const v1::StoredToken& token);
  absl::StatusOr<std::vector<v1::StoredToken>> LoadTokens();

  // One round trip. The replies in order. Unavailable: send the same group again;
  // FailedPrecondition: the epoch is stale, this scheduler must stop.
  absl::StatusOr<std::vector<RedisReply>> WriteAll(const std::vector<Write>& writes);

  RedisClient& client() { return client_; }

 private:
  RedisClient client_;
  FarmFunctions functions_;
  std::mt19937_64 random_{RandomSeed()};
  uint64_t checked_ = 0;  // the connection whose server has the right version
  std::string leader_, run_id_;
  uint64_t run_id_of_ = 0;  // the connection it was asked on
};

}  // namespace tiltshift::store
