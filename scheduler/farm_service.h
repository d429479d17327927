// The public service over the loop: checks what comes in, plans it, stores it, and answers.
#pragma once

#include "monitoring/metrics.h"
#include "proto/farm.grpc.pb.h"
#include "scheduler/blob_threads.h"
#include "scheduler/farm_loop.h"
#include "store/blob_store.h"

namespace tiltshift::scheduler {

class FarmService : public v1::Farm::CallbackService {
 public:
  // Calls that wait for the blob store at once; more of them queue.
  static constexpr int kBlobThreads = 16;

  FarmService(FarmLoop& loop, store::BlobStore& blobs, monitoring::SchedulerMetrics& metrics)
      : loop_(loop), blobs_(blobs), metrics_(metrics) {}

  grpc::ServerUnaryReactor* Submit(grpc::CallbackServerContext* context,
                                   const v1::SubmitRequest* request,
                                   v1::SubmitResponse* response) override;
  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext* context,
                                   const v1::GetJobRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* ListJobs(grpc::CallbackServerContext* context,
                                     const v1::ListJobsRequest* request,
                                     v1::ListJobsResponse* response) override;
  grpc::ServerWriteReactor<v1::Job>* WatchJob(grpc::CallbackServerContext* context,
                                              const v1::GetJobRequest* request) override;
  grpc::ServerUnaryReactor* CancelJob(grpc::CallbackServerContext* context,
                                      const v1::CancelJobRequest* request,
                                      v1::Job* response) override;
  grpc::ServerUnaryReactor* PauseJob(grpc::CallbackServerContext* context,
                                     const v1::PauseJobRequest* request,
                                     v1::Job* response) override;
  grpc::ServerUnaryReactor* ResumeJob(grpc::CallbackServerContext* context,
                                      const v1::ResumeJobRequest* request,
                                      v1::Job* response) override;
  grpc::ServerUnaryReactor* RetryFailed(grpc::CallbackServerContext* context,
                                        const v1::RetryFailedRequest* request,
                                        v1::Job* response) override;
  grpc::ServerUnaryReactor* SetPriority(grpc::CallbackServerContext* context,
                                        const v1::SetPriorityRequest* request,
                                        v1::Job* response) override;
  grpc::ServerUnaryReactor* Explain(grpc::CallbackServerContext* context,
                                    const v1::ExplainRequest* request,
                                    v1::ExplainResponse* response) override;
  grpc::ServerWriteReactor<v1::OutputPiece>* ReadOutputs(
      grpc::CallbackServerContext* context, const v1::ReadOutputsRequest* request) override;
  grpc::ServerUnaryReactor* ListWorkers(grpc::CallbackServerContext* context,
                                        const v1::ListWorkersRequest* request,
                                        v1::ListWorkersResponse* response) override;

 private:
  // Answers with the job as it is then.
  std::function<void(absl::Status)> JobAnswer(grpc::ServerUnaryReactor* reactor,
                                              const std::string& job_id, v1::Job* response,
                                              monitoring::Histogram seconds);

  FarmLoop& loop_;
  store::BlobStore& blobs_;
  monitoring::SchedulerMetrics& metrics_;
  BlobThreads threads_{kBlobThreads};
};

// absl's codes are gRPC's; a NotLeading names the leader in its details.
grpc::Status ToGrpc(const absl::Status& status);

}  // namespace tiltshift::scheduler
