// The slots: one thread each, taking variants from the queue, rendering and storing them.
#pragma once

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "monitoring/metrics.h"
#include "store/blob_store.h"
#include "worker/lease_queue.h"
#include "worker/variant_renderer.h"

namespace tiltshift::worker {

class Slots {
 public:
  Slots(int count, const RendererFactory& factory, LeaseQueue& queue, store::BlobStore& blobs,
        monitoring::WorkerMetrics& metrics, std::string worker_id);
  // Joins: the queue must have been closed.
  ~Slots();

 private:
  void Run(VariantRenderer& renderer);
  absl::StatusOr<double> RenderOne(VariantRenderer& renderer, const Work& work);

  LeaseQueue& queue_;
  store::BlobStore& blobs_;
  monitoring::WorkerMetrics& metrics_;
  const std::string worker_id_;
  std::vector<std::unique_ptr<VariantRenderer>> renderers_;
  std::vector<std::thread> threads_;
};

}  // namespace tiltshift::worker
