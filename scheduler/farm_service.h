// The public service over the loop: checks what comes in, plans it, stores it, and answers.
#pragma once

#include "moderation/moderator.h"
#include "monitoring/metrics.h"
#include "proto/farm.pb.h"
#include "scheduler/blob_threads.h"
#include "scheduler/call_server.h"
#include "scheduler/contest.h"
#include "scheduler/farm_loop.h"
#include "scheduler/photo_service.h"
#include "store/blob_store.h"

namespace tiltshift::scheduler {

class FarmService {
 public:
  // Calls that wait for the blob store at once; more of them queue.
  static constexpr int kBlobThreads = 16;

  // `moderator` is asked about the texts of each submission; null: nobody is.
  FarmService(FarmLoop& loop, store::BlobStore& blobs, PhotoService& photos,
              monitoring::SchedulerMetrics& metrics, moderation::Moderator* moderator)
      : loop_(loop), blobs_(blobs), photos_(photos), metrics_(metrics), moderator_(moderator) {}

  // The methods of v1::Farm but those about photos.
  void AddTo(CallServer& server);

 private:
  using JobReply = Reply<v1::Job>;
  void Submit(const v1::SubmitRequest& request, Reply<v1::SubmitResponse> reply);
  void AppendEntries(const v1::AppendEntriesRequest& request, Reply<v1::SubmitResponse> reply);
  void ListEntries(const v1::ListEntriesRequest& request, Reply<v1::ListEntriesResponse> reply);
  absl::Status Review(const v1::JobSpec& spec) const;
  absl::Status MayAccept(const std::string& request_id) const;
  absl::Status MayAppend(const v1::JobSpec& spec, const v1::Entries& batch);
  absl::StatusOr<v1::ListJobsResponse> ListJobs(const v1::ListJobsRequest& request) const;
  void CancelJob(const v1::CancelJobRequest& request, JobReply reply);
  absl::StatusOr<v1::ListWorkersResponse> ListWorkers() const;
  // Answers with the job as it is once the operator's wish is durable.
  FarmLoop::Done WithJob(const std::string& job_id, JobReply reply) const;

  FarmLoop& loop_;
  store::BlobStore& blobs_;
  PhotoService& photos_;
  monitoring::SchedulerMetrics& metrics_;
  moderation::Moderator* const moderator_;
  Ledgers ledgers_;
  BlobThreads threads_{kBlobThreads};
};

}  // namespace tiltshift::scheduler
