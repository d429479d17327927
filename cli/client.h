// A farm as the commands see it: the public service over whichever of its addresses answers, errors
// as sentences.
#pragma once

#include <grpcpp/channel.h>

#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "proto/farm.grpc.pb.h"

namespace tiltshift::cli {

class FarmClient {
 public:
  // Addresses with commas between them; none is contacted yet.
  explicit FarmClient(const std::string& schedulers);

  // Blocks until a scheduler can be reached, at most so long. To be called between tries: gRPC's
  // synchronous client makes progress with a connection only while someone waits for it.
  void WaitForConnection(int timeout_ms);

  absl::StatusOr<v1::SubmitResponse> Submit(const v1::JobSpec& spec, const std::string& request_id);
  absl::StatusOr<v1::Job> GetJob(const std::string& job_id);
  absl::StatusOr<v1::ListJobsResponse> ListJobs(uint32_t limit);
  absl::StatusOr<v1::Job> CancelJob(const std::string& job_id);
  absl::StatusOr<v1::Job> PauseJob(const std::string& job_id);
  absl::StatusOr<v1::Job> ResumeJob(const std::string& job_id);
  absl::StatusOr<v1::Job> RetryFailed(const std::string& job_id);
  absl::StatusOr<v1::Job> SetPriority(const std::string& job_id, int32_t priority);
  absl::StatusOr<v1::ExplainResponse> Explain(const v1::ExplainRequest& request);
  absl::StatusOr<v1::ListWorkersResponse> ListWorkers();

  // Calls `see` with the job now and whenever it changed, until it ended, `see` says false
  // (Cancelled) or it can't be watched. Outlives schedulers that restart: gives up after
  // `patience_ms` without any answer.
  absl::Status Watch(const std::string& job_id, int patience_ms,
                     const std::function<bool(const v1::Job&)>& see);

  // The outputs committed so far: `start` for each, then its bytes through `data`, where `start`
  // said true.
  absl::Status ReadOutputs(const v1::ReadOutputsRequest& request,
                           const std::function<absl::Status(const v1::OutputInfo&)>& start,
                           const std::function<absl::Status(const std::string&)>& data);

 private:
  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (v1::Farm::Stub::*method)(grpc::ClientContext*,
                                                                       const Request&, Response*),
                                const Request& request);
  v1::Farm::Stub& stub() { return *stubs_[current_].stub; }
  absl::Status Explain(const grpc::Status& status) const;

  struct Address {
    std::string address;
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<v1::Farm::Stub> stub;
  };
  std::vector<Address> stubs_;
  size_t current_ = 0;
};

}  // namespace tiltshift::cli
