// What the variants of a job are, for those who look at them one by one. Plans and entries that
// were asked for last are kept. All of it waits for the blob store or for Redis; any thread but the
// server's.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "plan/plan.h"
#include "proto/farm.pb.h"
#include "scheduler/farm_loop.h"
#include "scheduler/recent.h"
#include "store/blob_store.h"

namespace tiltshift::scheduler {

class Variants {
 public:
  Variants(FarmLoop& loop, store::BlobStore& blobs) : loop_(loop), blobs_(blobs) {}

  // OutOfRange where the job has no such variant.
  absl::StatusOr<plan::Variant> At(const v1::Job& job, uint64_t index);
  // InvalidArgument: an axis or value that the job has not.
  absl::StatusOr<v1::ListVariantsResponse> List(const v1::Job& job,
                                                const v1::ListVariantsRequest& request);

 private:
  absl::StatusOr<std::shared_ptr<const plan::Plan>> PlanOf(const v1::Job& job);
  absl::StatusOr<plan::EntryRow> RowOf(const v1::Job& job, uint64_t entry);
  absl::StatusOr<plan::Variant> At(const v1::Job& job, const plan::Plan& plan, uint64_t index);
  absl::StatusOr<v1::ListVariantsResponse> ListFailed(const v1::Job& job,
                                                      const v1::ListVariantsRequest& request);
  absl::Status AddStates(const v1::Job& job, v1::ListVariantsResponse& response);

  FarmLoop& loop_;
  store::BlobStore& blobs_;
  Recent<plan::Plan> plans_{64 << 20};     // bytes of their specs
  Recent<v1::Entries> batches_{64 << 20};  // bytes, as stored
};

}  // namespace tiltshift::scheduler
