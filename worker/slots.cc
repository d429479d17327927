#include "worker/slots.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <exception>

#include "worker/output_writer.h"

namespace tiltshift::worker {
namespace {

constexpr auto kRateWindow = std::chrono::minutes(1);

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Slots::Slots(int count, Renderers& renderers, LeaseQueue& queue, store::BlobStore& blobs,
             monitoring::WorkerMetrics& metrics, std::string worker_id)
    : queue_(queue), blobs_(blobs), metrics_(metrics), worker_id_(std::move(worker_id)) {
  for (int i = 0; i < count; ++i) renderers_.push_back(renderers.MakeOne());
  for (auto& renderer : renderers_) threads_.emplace_back([this, &renderer] { Run(*renderer); });
}

Slots::~Slots() {
  for (std::thread& thread : threads_) thread.join();
}

absl::Status Slots::trouble() const {
  std::lock_guard lock(mutex_);
  return trouble_;
}

void Slots::Run(VariantRenderer& renderer) {
  while (const auto work = queue_.Take()) {
    metrics_.slots_busy.Add(1);
    try {
      RenderOne(renderer, *work);
    } catch (const std::exception& error) {  // out of memory, or a library's own
      Fail(*work, absl::InternalError(absl::StrCat("rendering threw: ", error.what())));
    }
    metrics_.slots_busy.Add(-1);
  }
}

void Slots::RenderOne(VariantRenderer& renderer, const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  const plan::Variant variant = work.plan->At(work.index);
  const auto rendered = renderer.Render(*work.plan, variant, nullptr);
  if (!rendered.ok()) return Fail(work, rendered.status());
  const double seconds = SecondsSince(start);
  const absl::Status stored = WriteOutput(blobs_, work, variant, *rendered, seconds, worker_id_);
  if (absl::IsDataLoss(stored) || absl::IsInvalidArgument(stored)) return Fail(work, stored);
  if (!stored.ok()) {
    queue_.Return(work);
    queue_.Close();
    std::lock_guard lock(mutex_);
    trouble_ = stored;
    return;
  }
  metrics_.encode_seconds.Observe(rendered->encode_seconds);
  metrics_.denoise_seconds.Observe(rendered->denoise_seconds);
  metrics_.decode_seconds.Observe(rendered->decode_seconds);
  metrics_.finish_seconds.Observe(rendered->finish_seconds);
  metrics_.store_seconds.Observe(SecondsSince(start) - seconds);
  metrics_.images_rendered.Add();
  {
    std::lock_guard lock(mutex_);
    stored_.push_back(std::chrono::steady_clock::now());
  }
  queue_.Finish(work, seconds, rendered->png.size());
}

void Slots::MeasureRate() {
  std::lock_guard lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  while (!stored_.empty() && now - stored_.front() > kRateWindow) stored_.pop_front();
  const std::chrono::duration<double> window =
      std::min<decltype(now - start_)>(now - start_, kRateWindow);
  metrics_.images_per_second.Set(static_cast<double>(stored_.size()) / window.count());
}

void Slots::Fail(const Work& work, const absl::Status& status) {
  metrics_.render_failures.Add();
  spdlog::warn("job {} variant {}: {}", work.job_id, work.index, Message(status));
  queue_.Fail(work, Message(status));
}

}  // namespace tiltshift::worker
