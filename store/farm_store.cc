#include "store/farm_store.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "store/bit_pieces.h"

namespace tiltshift::store {

namespace {

constexpr char kEpoch[] = "ts:epoch";
constexpr char kLeader[] = "ts:leader";
constexpr char kJobs[] = "ts:jobs";
constexpr char kLeases[] = "ts:leases";
constexpr char kToken[] = "ts:token";
constexpr char kQueue[] = "ts:queue";
constexpr char kGallery[] = "ts:gallery";
constexpr char kSchema[] = "ts:schema";
constexpr size_t kMostFailuresShown = 20;
constexpr uint64_t kBitsRead = 1 << 19;  // of a bitmap at once
constexpr int kMostReads = 200;
constexpr uint64_t kLargestEpochStep = 1'000'000;

std::string JobKey(const std::string& id) { return "ts:job:" + id; }

std::map<std::string, std::string> AsMap(const RedisReply& reply) {
  std::map<std::string, std::string> fields;
  for (size_t i = 0; i + 1 < reply.items.size(); i += 2)
    fields[reply.items[i].text] = reply.items[i + 1].text;
  return fields;
}

template <typename Int>
Int Number(const std::string& text) {
  Int value = 0;
  return absl::SimpleAtoi(text, &value) ? value : 0;
}

// As Redis counts bits: the first is the highest of the first byte. False behind the end.
bool BitAt(const std::string& bytes, uint64_t at) {
  return at / 8 < bytes.size() && (static_cast<uint8_t>(bytes[at / 8]) >> (7 - at % 8) & 1) != 0;
}

// "job first count lost worker"
std::string LeaseRecord(const StoredLease& lease) {
  return absl::StrCat(lease.job_id, " ", lease.first, " ", lease.count, " ", lease.lost, " ",
                      lease.worker_id);
}

StoredLease ParseLease(const std::string& token, const std::string& record) {
  const std::vector<std::string> parts = absl::StrSplit(record, absl::MaxSplits(' ', 4));
  StoredLease lease;
  lease.token = Number<uint64_t>(token);
  if (parts.size() < 5) return lease;
  lease.job_id = parts[0];
  lease.first = Number<uint64_t>(parts[1]);
  lease.count = Number<uint64_t>(parts[2]);
  lease.lost = Number<uint32_t>(parts[3]);
  lease.worker_id = std::string(absl::StripTrailingAsciiWhitespace(parts[4]));
  return lease;
}

}  // namespace

FarmStore::FarmStore(RedisAddress redis) : client_(std::move(redis)), functions_(client_) {}

absl::StatusOr<std::string> FarmStore::RunId() {
  if (run_id_of_ == client_.connections() && run_id_of_ != 0) return run_id_;
  TS_ASSIGN_OR_RETURN(const RedisReply info, client_.Run({"INFO", "server"}));
  constexpr std::string_view kField = "run_id:";
  const size_t at = info.text.find(kField);
  if (at == std::string::npos)
    return absl::InternalError(
        absl::StrCat("Redis at ", client_.address(), ": INFO has no run_id"));
  run_id_ = info.text.substr(at + kField.size(), info.text.find('\r', at) - at - kField.size());
  run_id_of_ = client_.connections();
  return run_id_;
}

absl::StatusOr<bool> FarmStore::HasEpoch() {
  TS_ASSIGN_OR_RETURN(const RedisReply known, client_.Run({"EXISTS", kEpoch}));
  return known.integer == 1;
}

absl::StatusOr<uint64_t> FarmStore::KeysOfOthers() {
  TS_ASSIGN_OR_RETURN(const RedisReply all, client_.Run({"DBSIZE"}));
  TS_ASSIGN_OR_RETURN(const RedisReply ours,
                      client_.Run({"EXISTS", kEpoch, kLeader, kQueue, kGallery, kSchema}));
  return static_cast<uint64_t>(std::max<int64_t>(0, all.integer - ours.integer));
}

absl::Status FarmStore::CheckServer() {
  if (checked_ == client_.connections() && checked_ != 0) return absl::OkStatus();
  TS_ASSIGN_OR_RETURN(const RedisReply info, client_.Run({"INFO", "server"}));
  const size_t at = info.text.find("redis_version:");
  const int major = at == std::string::npos
                        ? 0
                        : Number<int>(info.text.substr(at + 14, info.text.find('.', at) - at - 14));
  if (major < 6) {
    return absl::UnimplementedError(absl::StrCat("Redis at ", client_.address(), " is version ",
                                                 major, ".x; the farm needs 6 or newer"));
  }
  checked_ = client_.connections();
  return absl::OkStatus();
}

absl::Status FarmStore::CheckSchema() {
  TS_ASSIGN_OR_RETURN(const RedisReply reply, client_.Run({"GET", kSchema}));
  const auto schema = reply.text.empty() ? 1 : Number<uint64_t>(reply.text);
  if (schema != 0 && schema <= kNewestSchema) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrCat("Redis at ", client_.address(), " holds a farm of schema ", reply.text,
                   ", and this scheduler ", "knows 1 to ", kNewestSchema,
                   ": it was led by a newer scheduler; start one of that version, ",
                   "or give this one a Redis of its own. Nothing was changed"));
}

absl::Status FarmStore::Prepare() {
  TS_RETURN_IF_ERROR(CheckServer());
  TS_RETURN_IF_ERROR(functions_.Load());
  return client_.Run({"SET", kSchema, std::to_string(kNewestSchema)}).status();
}

absl::StatusOr<uint64_t> FarmStore::Lead(const std::string& name, int ttl_ms, uint64_t epoch) {
  const uint64_t step = std::uniform_int_distribution<uint64_t>(1, kLargestEpochStep)(random_);
  leader_.clear();
  TS_ASSIGN_OR_RETURN(const RedisReply reply,
                      functions_.Run({"ts_lead",
                                      {kEpoch, kLeader},
                                      {name, std::to_string(ttl_ms), std::to_string(epoch),
                                       std::to_string(step)}}));
  if (reply.items.size() != 2) return absl::InternalError("ts_lead answered something else");
  leader_ = reply.items[1].text;
  if (reply.items[0].integer == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("another scheduler leads: ", reply.items[1].text));
  }
  return static_cast<uint64_t>(reply.items[0].integer);
}

absl::Status FarmStore::Resign(const std::string& name, uint64_t epoch) {
  return functions_.Run({"ts_resign", {kEpoch, kLeader}, {std::to_string(epoch), name}}).status();
}

absl::StatusOr<StoredJob> FarmStore::LoadJob(const std::string& id) {
  TS_ASSIGN_OR_RETURN(auto replies, client_.RunAll({{"HGETALL", JobKey(id)},
                                                    {"HGETALL", JobKey(id) + ":attempts"},
                                                    {"HGETALL", JobKey(id) + ":failures"}}));
  for (const RedisReply& reply : replies) {
    if (reply.kind == RedisReply::Kind::kError) return ErrorOf(reply);
  }
  auto fields = AsMap(replies[0]);
  StoredJob job;
  job.id = id;
  if (!job.spec.ParseFromString(fields["spec"])) {
    return absl::DataLossError(absl::StrCat("Redis key ", JobKey(id), ": the spec is damaged"));
  }
  job.variants = Number<uint64_t>(fields["variants"]);
  job.committed = Number<uint64_t>(fields["committed"]);
  job.failed = Number<uint64_t>(fields["failed"]);
  job.submitted_ms = Number<int64_t>(fields["submitted_ms"]);
  job.started_ms = Number<int64_t>(fields["started_ms"]);
  job.ended_ms = Number<int64_t>(fields["ended_ms"]);
  job.cancelled = fields["cancelled"] == "1";
  job.paused = fields["paused"] == "1";
  job.stored_bytes = Number<uint64_t>(fields["stored_bytes"]);
  job.render_class = fields["render_class"];
  if (fields.count("priority") != 0) job.priority = Number<int32_t>(fields["priority"]);
  for (const auto& [index, reason] : AsMap(replies[2])) {
    if (job.failures.size() < kMostFailuresShown) job.failures[Number<uint64_t>(index)] = reason;
  }
  if (job.ended_ms != 0) return job;
  for (const auto& [index, attempts] : AsMap(replies[1]))
    job.attempts[Number<uint64_t>(index)] = Number<uint32_t>(attempts);
  TS_ASSIGN_OR_RETURN(const RedisReply done, client_.Run({"GET", JobKey(id) + ":done"}));
  TS_ASSIGN_OR_RETURN(const RedisReply failed, client_.Run({"GET", JobKey(id) + ":failed"}));
  job.done_bits = done.text;
  job.failed_bits = failed.text;
  return job;
}

absl::StatusOr<FarmStore::Progress> FarmStore::LoadProgress(const std::string& id,
                                                            const v1::VariantRange& range) {
  const std::string from = std::to_string(range.first() / 8);
  const std::string to = std::to_string((range.first() + range.count()) / 8);
  TS_ASSIGN_OR_RETURN(const auto bits,
                      client_.RunAll({{"GETRANGE", JobKey(id) + ":done", from, to},
                                      {"GETRANGE", JobKey(id) + ":failed", from, to}}));
  for (const RedisReply& reply : bits) {
    if (reply.kind == RedisReply::Kind::kError) return ErrorOf(reply);
  }
  Progress progress;
  std::vector<std::string> why = {"HMGET", JobKey(id) + ":failures"};
  for (uint64_t i = 0; i < range.count(); ++i) {
    const uint64_t at = range.first() % 8 + i;
    progress.committed.push_back(BitAt(bits[0].text, at));
    progress.failed.push_back(BitAt(bits[1].text, at));
    if (progress.failed.back()) why.push_back(std::to_string(range.first() + i));
  }
  if (why.size() == 2) return progress;
  TS_ASSIGN_OR_RETURN(const RedisReply reasons, client_.Run(why));
  for (size_t i = 0; i < reasons.items.size() && i + 2 < why.size(); ++i)
    progress.reasons[Number<uint64_t>(why[i + 2])] = reasons.items[i].text;
  return progress;
}

absl::StatusOr<FarmStore::Failures> FarmStore::LoadFailures(const std::string& id, uint64_t first,
                                                            size_t limit) {
  const std::string bitmap = JobKey(id) + ":failed";
  Failures failures;
  failures.next = first;
  for (int reads = 0; reads < kMostReads && failures.failed.size() < limit; ++reads) {
    TS_ASSIGN_OR_RETURN(const RedisReply found,
                        client_.Run({"BITPOS", bitmap, "1", std::to_string(failures.next / 8)}));
    if (found.integer < 0) {
      failures.next = 0;
      break;
    }
    const uint64_t from = std::max<uint64_t>(failures.next, static_cast<uint64_t>(found.integer));
    const uint64_t begin = from / 8 * 8;
    TS_ASSIGN_OR_RETURN(const RedisReply bits,
                        client_.Run({"GETRANGE", bitmap, std::to_string(begin / 8),
                                     std::to_string((begin + kBitsRead) / 8 - 1)}));
    const uint64_t end = begin + 8 * bits.text.size();
    for (failures.next = from; failures.next < end && failures.failed.size() < limit;
         ++failures.next) {
      if (BitAt(bits.text, failures.next - begin))
        failures.failed.push_back({failures.next, true, 0, ""});
    }
  }
  if (failures.failed.empty()) return failures;
  std::vector<std::string> why = {"HMGET", JobKey(id) + ":failures"};
  for (const StoredFailure& failure : failures.failed) why.push_back(std::to_string(failure.index));
  std::vector<std::string> attempts = why;
  attempts[1] = JobKey(id) + ":attempts";
  TS_ASSIGN_OR_RETURN(const auto replies, client_.RunAll({why, attempts}));
  for (const RedisReply& reply : replies) {
    if (reply.kind == RedisReply::Kind::kError) return ErrorOf(reply);
  }
  for (size_t i = 0; i < failures.failed.size(); ++i) {
    if (i < replies[0].items.size()) failures.failed[i].reason = replies[0].items[i].text;
    if (i < replies[1].items.size())
      failures.failed[i].attempts = Number<uint32_t>(replies[1].items[i].text);
  }
  return failures;
}

absl::StatusOr<StoredFarm> FarmStore::Load(const std::function<absl::Status()>& between) {
  StoredFarm farm;
  TS_ASSIGN_OR_RETURN(const RedisReply ids, client_.Run({"ZRANGE", kJobs, "0", "-1"}));
  for (const RedisReply& id : ids.items) {
    if (between != nullptr) TS_RETURN_IF_ERROR(between());
    TS_ASSIGN_OR_RETURN(StoredJob job, LoadJob(id.text));
    farm.jobs.push_back(std::move(job));
  }
  TS_ASSIGN_OR_RETURN(const RedisReply leases, client_.Run({"HGETALL", kLeases}));
  for (const auto& [token, record] : AsMap(leases))
    farm.leases.push_back(ParseLease(token, record));
  TS_ASSIGN_OR_RETURN(const RedisReply token, client_.Run({"GET", kToken}));
  farm.last_token = Number<uint64_t>(token.text);
  return farm;
}

absl::Status FarmStore::KeepQueue(const std::string& queue, int ttl_ms) {
  return client_.Run({"SET", kQueue, queue, "PX", std::to_string(ttl_ms)}).status();
}

absl::StatusOr<std::string> FarmStore::LoadQueue() {
  TS_ASSIGN_OR_RETURN(const RedisReply reply, client_.Run({"GET", kQueue}));
  return reply.text;
}

absl::Status FarmStore::KeepGallery(const std::string& url, int ttl_ms) {
  return client_.Run({"SET", kGallery, url, "PX", std::to_string(ttl_ms)}).status();
}

absl::StatusOr<std::string> FarmStore::LoadGallery() {
  TS_ASSIGN_OR_RETURN(const RedisReply reply, client_.Run({"GET", kGallery}));
  return reply.text;
}

Write FarmStore::Submit(uint64_t epoch, const std::string& job_id, const v1::JobSpec& spec,
                        uint64_t variants, int64_t now_ms, const std::string& request_id) {
  const bool has_request = !request_id.empty();
  return {
      {"ts_submit",
       {kEpoch, kJobs, JobKey(job_id), has_request ? "ts:request:" + request_id : JobKey(job_id)},
       {std::to_string(epoch), job_id, std::to_string(now_ms), std::to_string(variants),
        spec.SerializeAsString(), has_request ? "1" : "0"}}};
}

Write FarmStore::Append(uint64_t epoch, const std::string& job_id, const v1::JobSpec& spec,
                        uint64_t variants) {
  return {{"ts_append",
           {kEpoch, JobKey(job_id)},
           {std::to_string(epoch), spec.SerializeAsString(), std::to_string(variants)}}};
}

Write FarmStore::Turns(uint64_t epoch, const std::string& job_id, const JobTurns& turns,
                       int64_t now_ms) {
  std::vector<v1::VariantRange> committed;
  size_t failures = 0;
  uint64_t greatest = 0;
  for (const StoredOutcome& outcome : turns.outcomes) {
    committed.insert(committed.end(), outcome.committed.begin(), outcome.committed.end());
    failures += outcome.failed.size();
  }
  for (const StoredLease& lease : turns.grants) greatest = std::max(greatest, lease.token);
  const std::vector<BitPiece> pieces = BitPieces(committed);
  const size_t counts[] = {turns.outcomes.size(), 3 * pieces.size(), 4 * failures,
                           2 * turns.grants.size()};

  const std::string key = JobKey(job_id);
  Write write{{"ts_turns",
               {kEpoch, kLeases, kToken, key, key + ":done", key + ":failed", key + ":failures",
                key + ":attempts"},
               {std::to_string(epoch), std::to_string(now_ms), job_id,
                std::to_string(turns.stored_bytes), std::to_string(greatest)}}};
  std::vector<std::string>& arguments = write.call.arguments;
  arguments.reserve(9 + counts[0] + counts[1] + counts[2] + counts[3] + turns.releases.size());
  for (const size_t count : counts) arguments.push_back(std::to_string(count));
  for (const StoredOutcome& outcome : turns.outcomes)
    arguments.push_back(std::to_string(outcome.token));
  for (const BitPiece& piece : pieces) {
    arguments.push_back(std::to_string(piece.from));
    arguments.push_back(std::to_string(piece.to));
    arguments.push_back(piece.mask);
  }
  for (const StoredOutcome& outcome : turns.outcomes) {
    for (const StoredFailure& failure : outcome.failed) {
      arguments.push_back(std::to_string(failure.index));
      arguments.push_back(failure.is_final ? "1" : "0");
      arguments.push_back(std::to_string(failure.attempts));
      arguments.push_back(failure.reason);
    }
  }
  for (const StoredLease& lease : turns.grants) {
    arguments.push_back(std::to_string(lease.token));
    arguments.push_back(LeaseRecord(lease));
  }
  for (const uint64_t token : turns.releases) arguments.push_back(std::to_string(token));
  return write;
}

Write FarmStore::Cancel(uint64_t epoch, const std::string& job_id, int64_t now_ms) {
  return {{"ts_cancel", {kEpoch, JobKey(job_id)}, {std::to_string(epoch), std::to_string(now_ms)}}};
}

Write FarmStore::SetPaused(uint64_t epoch, const std::string& job_id, bool paused) {
  return {
      {"ts_set", {kEpoch, JobKey(job_id)}, {std::to_string(epoch), "paused", paused ? "1" : "0"}}};
}

Write FarmStore::SetPriority(uint64_t epoch, const std::string& job_id, int32_t priority) {
  return {{"ts_set",
           {kEpoch, JobKey(job_id)},
           {std::to_string(epoch), "priority", std::to_string(priority)}}};
}

Write FarmStore::SetRenderClass(uint64_t epoch, const std::string& job_id,
                                const std::string& render_class) {
  return {
      {"ts_set", {kEpoch, JobKey(job_id)}, {std::to_string(epoch), "render_class", render_class}}};
}

Write FarmStore::Retry(uint64_t epoch, const std::string& job_id) {
  const std::string key = JobKey(job_id);
  return {{"ts_retry",
           {kEpoch, key, key + ":failed", key + ":failures", key + ":attempts"},
           {std::to_string(epoch)}}};
}

absl::StatusOr<std::vector<RedisReply>> FarmStore::WriteAll(const std::vector<Write>& writes) {
  std::vector<const FunctionCall*> calls;
  calls.reserve(writes.size());
  for (const Write& write : writes) calls.push_back(&write.call);
  TS_ASSIGN_OR_RETURN(auto replies, functions_.RunAll(calls));
  for (const RedisReply& reply : replies) {
    if (reply.kind == RedisReply::Kind::kError) return ErrorOf(reply);
  }
  return replies;
}

}  // namespace tiltshift::store
