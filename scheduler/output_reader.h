// One ReadOutputs call: the job's committed outputs by rising index, an `info` and then the bytes
// in pieces. Reads the manifest parts once, a picture at a time after that.
#pragma once

#include <deque>
#include <string>

#include "monitoring/metrics.h"
#include "proto/farm.grpc.pb.h"
#include "scheduler/blob_threads.h"
#include "store/blob_store.h"

namespace tiltshift::scheduler {

class OutputReader : public grpc::ServerWriteReactor<v1::OutputPiece> {
 public:
  // Ends at once where `job` is not OK.
  OutputReader(store::BlobStore& blobs, BlobThreads& threads, v1::ReadOutputsRequest request,
               const absl::Status& job, monitoring::Histogram seconds);

  void OnWriteDone(bool ok) override;
  void OnCancel() override {}
  void OnDone() override { delete this; }

 private:
  absl::Status ReadManifest();
  void SendNext();
  absl::Status Next();  // fills piece_, or leaves it empty at the end

  const monitoring::Timer timer_;
  store::BlobStore& blobs_;
  BlobThreads& threads_;
  const v1::ReadOutputsRequest request_;
  std::deque<v1::OutputInfo> infos_;
  std::string bytes_;  // of the picture being sent
  size_t sent_ = 0;
  v1::OutputPiece piece_;
};

}  // namespace tiltshift::scheduler
