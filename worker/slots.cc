#include "worker/slots.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <exception>

#include "worker/output_writer.h"

namespace tiltshift::worker {
namespace {

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Slots::Slots(int count, const RendererFactory& factory, LeaseQueue& queue, store::BlobStore& blobs,
             monitoring::WorkerMetrics& metrics, std::string worker_id)
    : queue_(queue), blobs_(blobs), metrics_(metrics), worker_id_(std::move(worker_id)) {
  for (int i = 0; i < count; ++i) renderers_.push_back(factory());
  for (auto& renderer : renderers_) threads_.emplace_back([this, &renderer] { Run(*renderer); });
}

Slots::~Slots() {
  for (std::thread& thread : threads_) thread.join();
}

void Slots::Run(VariantRenderer& renderer) {
  while (const auto work = queue_.Take()) {
    metrics_.slots_busy.Add(1);
    const auto seconds = RenderOne(renderer, *work);
    metrics_.slots_busy.Add(-1);
    if (seconds.ok()) {
      metrics_.images_rendered.Add();
      queue_.Finish(*work, *seconds);
    } else {
      metrics_.render_failures.Add();
      spdlog::warn("job {} variant {}: {}", work->job_id, work->index, Message(seconds.status()));
      queue_.Fail(*work, Message(seconds.status()));
    }
  }
}

absl::StatusOr<double> Slots::RenderOne(VariantRenderer& renderer, const Work& work) {
  try {
    const auto start = std::chrono::steady_clock::now();
    const plan::Variant variant = work.plan->At(work.index);
    TS_ASSIGN_OR_RETURN(const RenderedVariant rendered, renderer.Render(*work.plan, variant, nullptr));
    const double seconds = SecondsSince(start);
    TS_RETURN_IF_ERROR(WriteOutput(blobs_, work, variant, rendered, seconds, worker_id_));
    metrics_.encode_seconds.Observe(rendered.encode_seconds);
    metrics_.denoise_seconds.Observe(rendered.denoise_seconds);
    metrics_.decode_seconds.Observe(rendered.decode_seconds);
    metrics_.finish_seconds.Observe(rendered.finish_seconds);
    metrics_.store_seconds.Observe(SecondsSince(start) - seconds);
    return seconds;
  } catch (const std::exception& error) {  // out of memory, or a library's own
    return absl::InternalError(absl::StrCat("rendering threw: ", error.what()));
  }
}

}  // namespace tiltshift::worker
