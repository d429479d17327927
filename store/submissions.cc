#include "store/submissions.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/hash.h"
#include "plan/entries.h"
#include "proto/farm.pb.h"
#include "proto/submission.pb.h"
#include "store/entry_batches.h"

namespace tiltshift::store {
namespace {

std::string Folder(const std::string& job_id) { return absl::StrCat("jobs/", job_id, "/"); }

// The keys of one job, without its folder.
struct Keys {
  bool has_spec = false, is_cancelled = false;
  std::set<std::string> outputs;
  std::vector<std::string> manifests;
  std::set<uint64_t> batches;  // of entries
};

std::map<std::string, Keys> ByJob(const std::vector<std::string>& keys) {
  std::map<std::string, Keys> jobs;
  for (const std::string& key : keys) {
    const std::vector<std::string> parts = absl::StrSplit(key, absl::MaxSplits('/', 3));
    if (parts.size() < 3) continue;
    Keys& job = jobs[parts[1]];
    if (parts.size() == 3) {
      job.has_spec = job.has_spec || parts[2] == "spec.binpb";
      job.is_cancelled = job.is_cancelled || parts[2] == "cancelled";
    } else if (parts[2] == "outputs") {
      job.outputs.insert(parts[3]);
    } else if (parts[2] == "manifest") {
      job.manifests.push_back(parts[3]);
    } else if (const auto number = BatchNumber(parts[3]); parts[2] == "entries" && number) {
      job.batches.insert(*number);
    }
  }
  return jobs;
}

// "FIRST-LAST-TOKEN.jsonl".
uint64_t TokenIn(const std::string& manifest) {
  const std::vector<std::string> parts =
      absl::StrSplit(manifest.substr(0, manifest.find('.')), '-');
  uint64_t token = 0;
  return parts.size() == 3 && absl::SimpleAtoi(parts[2], &token) ? token : 0;
}

void AddIndex(uint64_t index, std::vector<v1::VariantRange>& ranges) {
  if (ranges.empty() || ranges.back().first() + ranges.back().count() != index)
    ranges.emplace_back().set_first(index);
  ranges.back().set_count(ranges.back().count() + 1);
}

absl::Status ReadManifests(BlobStore& blobs, const Keys& keys, BlobJob& job, BlobFarm& farm) {
  std::vector<uint64_t> stored;
  for (const std::string& manifest : keys.manifests) {
    job.last_token = std::max(job.last_token, TokenIn(manifest));
    const std::string key = absl::StrCat(Folder(job.id), "manifest/", manifest);
    TS_ASSIGN_OR_RETURN(const std::string text, blobs.Get(key));
    for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
      v1::OutputInfo info;
      if (!google::protobuf::util::JsonStringToMessage(std::string(line), &info).ok()) {
        farm.ignored.push_back(absl::StrCat(key, " holds a damaged line"));
      } else if (keys.outputs.count(info.name()) != 0) {
        stored.push_back(info.index());
        job.stored_bytes += info.bytes();
        job.render_class = info.render_class();
      }
    }
  }
  std::sort(stored.begin(), stored.end());
  stored.erase(std::unique(stored.begin(), stored.end()), stored.end());
  for (const uint64_t index : stored) AddIndex(index, job.stored);
  return absl::OkStatus();
}

// The submission tells of the first batch alone.
absl::Status AddLaterBatches(BlobStore& blobs, const Keys& keys, BlobJob& job) {
  const auto known = [&] { return static_cast<uint64_t>(job.spec.contest().batches_size()); };
  while (keys.batches.count(known()) != 0) {
    TS_ASSIGN_OR_RETURN(const v1::Entries batch, GetBatch(blobs, job.id, known()));
    plan::AddBatch(batch, Sha256Hex(BytesOf(batch)), job.spec);
  }
  return absl::OkStatus();
}

absl::StatusOr<BlobJob> ReadJob(BlobStore& blobs, const std::string& id, const Keys& keys,
                                BlobFarm& farm) {
  BlobJob job;
  job.id = id;
  const std::string key = Folder(id) + "spec.binpb";
  TS_ASSIGN_OR_RETURN(const std::string bytes, blobs.Get(key));
  v1::Stamp stamp;
  if (!job.spec.ParseFromString(bytes) || !stamp.ParseFromString(bytes)) {
    return absl::DataLossError(
        absl::StrCat(key, " is damaged; restore it, or move the job's folder away"));
  }
  job.spec.DiscardUnknownFields();
  job.submitted_ms = stamp.submitted_unix_ms();
  if (keys.is_cancelled) {
    TS_ASSIGN_OR_RETURN(const std::string text, blobs.Get(Folder(id) + "cancelled"));
    if (!absl::SimpleAtoi(text, &job.cancelled_ms) || job.cancelled_ms <= 0) job.cancelled_ms = 1;
  }
  if (job.spec.has_contest()) TS_RETURN_IF_ERROR(AddLaterBatches(blobs, keys, job));
  TS_RETURN_IF_ERROR(ReadManifests(blobs, keys, job, farm));
  return job;
}

}  // namespace

absl::Status PutSubmission(BlobStore& blobs, const std::string& job_id, const v1::JobSpec& spec,
                           int64_t now_ms) {
  const std::string key = Folder(job_id) + "spec.binpb";
  const std::string bytes = spec.SerializeAsString();
  v1::Stamp stamp;
  stamp.set_submitted_unix_ms(now_ms);
  TS_ASSIGN_OR_RETURN(const bool created,
                      blobs.PutIfAbsent(key, bytes + stamp.SerializeAsString()));
  if (created) return absl::OkStatus();
  TS_ASSIGN_OR_RETURN(const std::string there, blobs.Get(key));
  v1::JobSpec earlier;
  if (!earlier.ParseFromString(there))
    return absl::DataLossError(absl::StrCat(key, " is damaged; choose a new request_id"));
  earlier.DiscardUnknownFields();
  earlier.set_traceparent(spec.traceparent());  // another call's, which says nothing of the job
  if (earlier.SerializeAsString() == bytes) return absl::OkStatus();
  return absl::AlreadyExistsError("request_id: it was used for another spec; choose a new one");
}

absl::Status PutCancellation(BlobStore& blobs, const std::string& job_id, int64_t now_ms) {
  return blobs.PutIfAbsent(Folder(job_id) + "cancelled", std::to_string(now_ms)).status();
}

absl::Status DeleteStoppedRenders(BlobStore& blobs, const std::string& job_id) {
  TS_ASSIGN_OR_RETURN(const auto keys, blobs.List(Folder(job_id) + "stopped/"));
  for (const std::string& key : keys) TS_RETURN_IF_ERROR(blobs.Delete(key));
  return absl::OkStatus();
}

absl::StatusOr<BlobFarm> ReadFarm(BlobStore& blobs) {
  BlobFarm farm;
  TS_ASSIGN_OR_RETURN(const auto keys, blobs.List("jobs/"));
  for (const auto& [id, job_keys] : ByJob(keys)) {
    if (!job_keys.has_spec) {
      farm.ignored.push_back(absl::StrCat(Folder(id), " has no submission (spec.binpb)"));
      continue;
    }
    TS_ASSIGN_OR_RETURN(farm.jobs.emplace_back(), ReadJob(blobs, id, job_keys, farm));
  }
  std::stable_sort(farm.jobs.begin(), farm.jobs.end(), [](const BlobJob& a, const BlobJob& b) {
    return a.submitted_ms < b.submitted_ms;
  });
  return farm;
}

}  // namespace tiltshift::store
