// A farm as the commands see it: the public service of whichever scheduler leads, errors as
// sentences. A call that no leader answers is tried at the next address, at the one that a standby
// names, and again for some seconds while there is a farm without a leader.
#pragma once

#include <grpcpp/channel.h>

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "plan/spec.h"
#include "proto/farm.grpc.pb.h"
#include "proto/identity.h"
#include "proto/leader.h"
#include "proto/status.h"
#include "proto/tokens.grpc.pb.h"

namespace tiltshift::cli {

// A copy shares the connection and is for another thread.
class FarmClient {
 public:
  // Addresses with commas between them; none is contacted yet. What is wrong with `identity` every
  // call returns.
  explicit FarmClient(const std::string& schedulers,
                      absl::StatusOr<Identity> identity = Identity());

  // Blocks until the scheduler that is to be asked next can be reached, at most so long.
  void WaitForConnection(int timeout_ms);

  // Of a contest: with all its batches, one call each; the same request id goes on where an earlier
  // try broke off.
  absl::StatusOr<v1::SubmitResponse> Submit(const plan::SpecFile& file,
                                            const std::string& request_id);
  // Tried again while the farm is busy with other photos. `start` without its bytes.
  absl::StatusOr<v1::UploadPhotoResponse> UploadPhoto(const v1::PhotoStart& start,
                                                      std::string_view bytes);
  absl::StatusOr<v1::ForgetResponse> Forget(const v1::ForgetRequest& request);
  // All of a job's; the last response, without the receipts, tells how many photos there are.
  absl::StatusOr<v1::ListReceiptsResponse> ListReceipts(
      const std::string& tenant, const std::string& job_id,
      const std::function<void(const v1::Receipt&)>& see);
  // Further entries of a contest; with none just where it stands.
  absl::StatusOr<v1::SubmitResponse> AppendEntries(const std::string& job_id,
                                                   std::span<const v1::Entries> batches);
  // All of a contest's entries, in order.
  absl::Status ListEntries(const std::string& job_id,
                           const std::function<void(const v1::EntryStatus&)>& see);
  // All of a job's variants that failed, in order.
  absl::Status ListFailed(const std::string& job_id,
                          const std::function<void(const v1::VariantStatus&)>& see);
  absl::StatusOr<v1::Job> GetJob(const std::string& job_id);
  absl::StatusOr<v1::ListJobsResponse> ListJobs(uint32_t limit);
  absl::StatusOr<v1::Job> CancelJob(const std::string& job_id);
  absl::StatusOr<v1::Job> PauseJob(const std::string& job_id);
  absl::StatusOr<v1::Job> ResumeJob(const std::string& job_id);
  absl::StatusOr<v1::Job> RetryFailed(const std::string& job_id);
  absl::StatusOr<v1::Job> SetPriority(const std::string& job_id, int32_t priority);
  absl::StatusOr<v1::ExplainResponse> Explain(const v1::ExplainRequest& request);
  absl::StatusOr<v1::ListWorkersResponse> ListWorkers();
  absl::StatusOr<v1::CreateTokenResponse> CreateToken(const v1::CreateTokenRequest& request);
  absl::StatusOr<v1::Token> RevokeToken(const std::string& id);
  absl::StatusOr<v1::ListTokensResponse> ListTokens();

  // Calls `see` with the job now and whenever it changed, until it ended, `see` says false
  // (Cancelled) or it can't be watched. Outlives schedulers that restart: gives up after
  // `patience_ms` without any answer.
  absl::Status Watch(const std::string& job_id, int patience_ms,
                     const std::function<bool(const v1::Job&)>& see);

  // The outputs committed so far: `start` for each, then its bytes through `data`. Where a picture
  // breaks off in the middle, because its scheduler has died, it starts again.
  absl::Status ReadOutputs(v1::ReadOutputsRequest request,
                           const std::function<absl::Status(const v1::OutputInfo&)>& start,
                           const std::function<absl::Status(const std::string&)>& data);

 private:
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                                const Request& request,
                                std::chrono::seconds deadline = std::chrono::seconds(20));
  struct Patience;
  // Why the scheduler that is next can't be asked at all.
  absl::Status MayAsk() const;
  // Of a call to it; the error is MayAsk's.
  absl::Status Prepare(grpc::ClientContext& context) const;
  const std::shared_ptr<grpc::Channel>& channel();
  // After a call that failed: whether to try again, after a wait, at whichever address is next.
  bool TryAnother(const grpc::Status& status, Patience& patience);
  absl::Status ErrorOf(const grpc::Status& status) const;

  const absl::StatusOr<Identity> identity_;
  const std::vector<std::string> addresses_;
  LeaderSearch search_;
  std::string asked_;  // the address of `channel_`
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace tiltshift::cli
