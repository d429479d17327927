// One UploadPhoto call: collects the photo in memory, then has it looked at, sealed and stored.
#pragma once

#include <atomic>
#include <memory>

#include "monitoring/metrics.h"
#include "proto/farm.pb.h"
#include "scheduler/blob_threads.h"
#include "scheduler/call.h"
#include "scheduler/farm_loop.h"
#include "scheduler/photo_vault.h"

namespace tiltshift::scheduler {

class PhotoUpload : public CallHandler, public std::enable_shared_from_this<PhotoUpload> {
 public:
  // Bytes of all photos that are being uploaded; what would be more is refused at its start.
  static constexpr size_t kMostUploading = 256'000'000;

  // `uploading`: those bytes, of all calls.
  PhotoUpload(std::shared_ptr<Call> call, FarmLoop& loop, PhotoVault& vault, BlobThreads& threads,
              std::atomic<size_t>& uploading, monitoring::Histogram seconds)
      : timer_(seconds),
        call_(std::move(call)),
        loop_(loop),
        vault_(vault),
        threads_(threads),
        uploading_(uploading) {}
  ~PhotoUpload() override { uploading_ -= reserved_; }

  absl::Status OnMessage(grpc::ByteBuffer& message) override;
  void OnLastMessage() override;

 private:
  absl::Status Start(const v1::PhotoStart& start);
  absl::Status Add(std::string_view data);

  const monitoring::Timer timer_;
  const std::shared_ptr<Call> call_;
  FarmLoop& loop_;
  PhotoVault& vault_;
  BlobThreads& threads_;
  std::atomic<size_t>& uploading_;
  v1::PhotoStart start_;
  seal::Secret photo_;
  size_t reserved_ = 0, there_ = 0;
};

}  // namespace tiltshift::scheduler
