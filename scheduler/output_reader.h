// One ReadOutputs call: the job's committed outputs by rising index, an `info` and then the bytes
// in pieces. Reads the manifest parts once, a picture at a time after that.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include "monitoring/metrics.h"
#include "proto/farm.pb.h"
#include "scheduler/blob_threads.h"
#include "scheduler/call.h"
#include "scheduler/farm_loop.h"
#include "store/blob_store.h"

namespace tiltshift::scheduler {

class OutputReader : public CallHandler, public std::enable_shared_from_this<OutputReader> {
 public:
  OutputReader(std::shared_ptr<Call> call, FarmLoop& loop, store::BlobStore& blobs,
               BlobThreads& threads, monitoring::Histogram seconds);

  absl::Status OnMessage(grpc::ByteBuffer& message) override;
  void OnWritten() override;

 private:
  absl::Status ReadManifest();
  void SendNext();
  absl::Status Next();  // fills piece_, or leaves it empty at the end

  const monitoring::Timer timer_;
  const std::shared_ptr<Call> call_;
  FarmLoop& loop_;
  store::BlobStore& blobs_;
  BlobThreads& threads_;
  v1::ReadOutputsRequest request_;
  std::deque<v1::OutputInfo> infos_;
  std::string bytes_;  // of the picture being sent
  size_t sent_ = 0;
  v1::OutputPiece piece_;
};

}  // namespace tiltshift::scheduler
