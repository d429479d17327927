// The methods of v1::Farm for those who look at pictures: what variants there are, and each
// picture, large or small. Small ones are made when they are first asked for, and kept in memory
// for a while.
#pragma once

#include <memory>
#include <string>

#include "monitoring/metrics.h"
#include "proto/farm.pb.h"
#include "scheduler/blob_threads.h"
#include "scheduler/call_server.h"
#include "scheduler/farm_loop.h"
#include "scheduler/recent.h"
#include "scheduler/variants.h"
#include "store/blob_store.h"

namespace tiltshift::scheduler {

class PictureService {
 public:
  // Calls under way at once; more of them queue. Few: making pictures small takes a core, and
  // leases come first.
  static constexpr int kThreads = 2;
  static constexpr size_t kKeptBytes = size_t{64} << 20;  // of small pictures

  PictureService(FarmLoop& loop, store::BlobStore& blobs, monitoring::SchedulerMetrics& metrics)
      : loop_(loop), blobs_(blobs), metrics_(metrics), variants_(loop, blobs) {}

  void AddTo(CallServer& server);

 private:
  class ReadPictureCall;
  struct Picture {
    v1::PictureHead head;
    std::string bytes;
  };
  absl::StatusOr<std::shared_ptr<const Picture>> Read(const v1::ReadPictureRequest& request);

  FarmLoop& loop_;
  store::BlobStore& blobs_;
  monitoring::SchedulerMetrics& metrics_;
  Variants variants_;
  Recent<Picture> small_{kKeptBytes};
  BlobThreads threads_{kThreads};
};

}  // namespace tiltshift::scheduler
