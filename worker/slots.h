// The slots: one thread each, taking variants from the queue, rendering and storing them.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
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
  Slots(int count, Renderers& renderers, LeaseQueue& queue, store::BlobStore& blobs,
        monitoring::WorkerMetrics& metrics, std::string worker_id);
  // Joins: the queue must have been closed.
  ~Slots();

  // Not OK once the blob store could not be written: the worker's trouble, not a variant's. It
  // should leave.
  absl::Status trouble() const;
  // Sets the gauge of images a second over the last minute; to be called often.
  void MeasureRate();

 private:
  void Run(VariantRenderer& renderer);
  void RenderOne(VariantRenderer& renderer, const Work& work);
  void Fail(const Work& work, const absl::Status& status);

  LeaseQueue& queue_;
  store::BlobStore& blobs_;
  monitoring::WorkerMetrics& metrics_;
  const std::string worker_id_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  mutable std::mutex mutex_;
  absl::Status trouble_;
  std::deque<std::chrono::steady_clock::time_point> stored_;  // images of the last minute
  std::vector<std::unique_ptr<VariantRenderer>> renderers_;
  std::vector<std::thread> threads_;
};

}  // namespace tiltshift::worker
