// Photos as clients and workers see them: uploads, keys for those who render, and the end.
#pragma once

#include <atomic>
#include <string>

#include "monitoring/metrics.h"
#include "proto/farm.pb.h"
#include "proto/worker.pb.h"
#include "scheduler/blob_threads.h"
#include "scheduler/call_server.h"
#include "scheduler/farm_loop.h"
#include "scheduler/photo_rows.h"
#include "scheduler/photo_vault.h"
#include "store/blob_store.h"

namespace tiltshift::scheduler {

class PhotoService {
 public:
  // Photos that are looked at and sealed at once; each has a decoder's process.
  static constexpr int kPhotoThreads = 4;

  PhotoService(FarmLoop& loop, PhotoVault& vault, PhotoRows& rows, store::BlobStore& blobs,
               monitoring::SchedulerMetrics& metrics)
      : loop_(loop), vault_(vault), rows_(rows), blobs_(blobs), metrics_(metrics) {}

  // The methods about photos of v1::Farm, and v1::Workers' OpenPhoto.
  void AddTo(CallServer& server);

  // Before a job, or a further batch of its entries, is stored: each photo that it names is the
  // tenant's and becomes the job's. InvalidArgument names the entries and what is wrong with each.
  // Waits for the blob store.
  absl::Status TakePhotos(const std::string& job_id, const v1::JobSpec& spec,
                          const v1::Entries& batch);

 private:
  absl::Status CheckForget(const v1::ForgetRequest& request) const;
  absl::StatusOr<v1::ForgetResponse> Forget(const v1::ForgetRequest& request);
  absl::StatusOr<v1::ListReceiptsResponse> ListReceipts(const v1::ListReceiptsRequest& request);
  void OpenPhoto(const v1::OpenPhotoRequest& request, Reply<v1::OpenPhotoResponse> reply);

  FarmLoop& loop_;
  PhotoVault& vault_;
  PhotoRows& rows_;
  store::BlobStore& blobs_;
  monitoring::SchedulerMetrics& metrics_;
  std::atomic<size_t> uploading_{0};  // bytes of photos on their way, in this process' memory
  BlobThreads threads_{kPhotoThreads}, key_threads_{kPhotoThreads};
};

}  // namespace tiltshift::scheduler
