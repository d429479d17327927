// What the blob store knows of jobs without Redis: submissions, cancellations, and the manifests of
// what was stored. Enough to rebuild a lost Redis (I2).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "proto/job.pb.h"
#include "store/blob_store.h"

namespace tiltshift::store {

// Durable when it returns. The same spec again is no error, under whatever trace; AlreadyExists
// where the job has another.
absl::Status PutSubmission(BlobStore& blobs, const std::string& job_id, const v1::JobSpec& spec,
                           int64_t now_ms);

// That the job was cancelled. Once is enough.
absl::Status PutCancellation(BlobStore& blobs, const std::string& job_id, int64_t now_ms);

// The renders that workers left to others: nobody goes on with those of a cancelled job.
absl::Status DeleteStoppedRenders(BlobStore& blobs, const std::string& job_id);

struct BlobJob {
  std::string id;
  v1::JobSpec spec;  // of a contest: with the batches that came later
  int64_t submitted_ms = 0;
  int64_t cancelled_ms = 0;              // 0: it was not
  uint64_t stored_bytes = 0;             // of the outputs in `stored`
  std::string render_class;              // of one of them; empty: there is none
  std::vector<v1::VariantRange> stored;  // a manifest line and its output are there
  uint64_t last_token = 0;               // the highest under which something was stored
};

struct BlobFarm {
  std::vector<BlobJob> jobs;         // by time of submission
  std::vector<std::string> ignored;  // sentences: folders without a submission, damaged manifests
};

// Reads every submission and every manifest. DataLoss where a submission is damaged.
absl::StatusOr<BlobFarm> ReadFarm(BlobStore& blobs);

}  // namespace tiltshift::store
