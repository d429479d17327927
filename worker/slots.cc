#include "worker/slots.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <exception>

#include "base/log.h"
#include "picture/png.h"
#include "plan/photo_id.h"
#include "seal/secret.h"
#include "worker/output_writer.h"

namespace tiltshift::worker {
namespace {

constexpr auto kRateWindow = std::chrono::minutes(1);

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Slots::Slots(int count, Renderers& renderers, LeaseQueue& queue, store::BlobStore& blobs,
             monitoring::WorkerMetrics& metrics, std::string worker_id, PhotoReader* photos,
             moderation::Moderator* moderator)
    : queue_(queue),
      blobs_(blobs),
      entries_(blobs),
      stopped_(blobs),
      metrics_(metrics),
      worker_id_(std::move(worker_id)),
      photos_(photos),
      moderator_(moderator),
      rendering_(count) {
  metrics_.slots.Set(count);
  for (int i = 0; i < count; ++i) renderers_.push_back(renderers.MakeOne());
  for (auto& renderer : renderers_) {
    threads_.emplace_back([this, &renderer] { RunRenderer(renderer); });
    threads_.emplace_back([this] { RunStorer(); });
  }
}

Slots::~Slots() {
  for (std::thread& thread : threads_) thread.join();
}

absl::Status Slots::trouble() const {
  std::lock_guard lock(mutex_);
  return trouble_;
}

void Slots::RunRenderer(std::unique_ptr<VariantRenderer>& renderer) {
  bool stays = true;
  while (stays) {
    const auto work = queue_.Take();
    if (!work) break;
    metrics_.slots_busy.Add(1);
    ++busy_;
    Guarded(*work, [&] { stays = RenderOne(*renderer, *work); });
    --busy_;
    metrics_.slots_busy.Add(-1);
  }
  renderer.reset();  // and what it holds of the device's memory
  std::lock_guard lock(mutex_);
  if (stays) {
    --rendering_;
  } else {
    ++gone_;
    others_gone_.notify_all();
  }
  rendered_ready_.notify_all();
}

void Slots::RunStorer() {
  while (const auto rendered = NextToStore()) {
    Guarded(rendered->work, [&] { StoreOne(*rendered); });
  }
}

template <typename What>
void Slots::Guarded(const Work& work, What what) {
  const LogScope scope({.job = work.job_id,
                        .variant = work.index,
                        .shard = work.token,
                        .trace = work.plan->spec().traceparent()});
  try {
    what();
  } catch (const std::exception& error) {
    Fail(work, absl::InternalError(absl::StrCat("rendering threw: ", error.what())));
  }
}

bool Slots::RenderOne(VariantRenderer& renderer, const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  LogEvent("begun");
  auto found = entries_.VariantAt(work.job_id, *work.plan, work.index);
  if (!found.ok()) {
    BlobTrouble(work, found.status());
    return true;
  }
  plan::Variant variant = *std::move(found);
  v1::ReviewRequest prompt;
  prompt.set_kind(v1::REVIEW_KIND_PROMPT);
  prompt.set_text(variant.prompt);
  if (!IsAllowed(work, variant, prompt)) return true;
  Opened opened;
  if (!OpenPhotos(work, variant, opened)) return true;
  const Source source = opened.source();
  Stops stops;
  auto output = RenderStoppably(renderer, work, {variant, source}, stops);
  while (absl::IsResourceExhausted(output.status())) {
    const AfterNoRoom next = MakeRoom();
    if (next == AfterNoRoom::kFail) break;
    if (next == AfterNoRoom::kLeave) {
      spdlog::warn("one slot less: {}", Message(output.status()));
      queue_.Return(work);
      return false;
    }
    output = RenderStoppably(renderer, work, {variant, source}, stops);
  }
  if (absl::IsCancelled(output.status())) {
    LeaveToOthers(work, stops);
    return true;
  }
  if (output.ok()) {
    HandOver({work, std::move(variant), *std::move(output), SecondsSince(start)});
    return true;
  }
  Fail(work, output.status());
  if (absl::IsAborted(output.status())) Stop(output.status());
  return true;
}

bool Slots::OpenPhotos(const Work& work, const plan::Variant& variant, Opened& opened) {
  const v1::JobSpec& spec = work.plan->spec();
  const std::string id = plan::PhotoOf(spec, variant.parameters);
  if (!ReadPhoto(work, variant, id, opened.photo) ||
      !ReadPhoto(work, variant, plan::MaskOf(spec, variant.parameters), opened.mask))
    return false;
  const auto& [photo, mask] = opened.source();
  if (photo != nullptr && mask != nullptr &&
      (photo->width != mask->width || photo->height != mask->height)) {
    Fail(work, absl::InvalidArgumentError(
                   absl::StrCat("its mask is ", mask->width, "x", mask->height, ", its photo ",
                                photo->width, "x", photo->height, "; they must be of one size")));
    return false;
  }
  if (photo == nullptr || moderator_ == nullptr) return true;
  v1::ReviewRequest review;
  review.set_kind(v1::REVIEW_KIND_PHOTO);
  review.set_text(id);
  return IsAllowed(work, variant, review, photo);
}

bool Slots::ReadPhoto(const Work& work, const plan::Variant& variant, const std::string& id,
                      std::optional<PhotoPixels>& pixels) {
  if (id.empty()) return true;
  auto read = photos_ != nullptr
                  ? photos_->Read(work, id)
                  : absl::StatusOr<PhotoPixels>(absl::NotFoundError("this worker reads no photos"));
  if (read.ok()) {
    pixels.emplace(*std::move(read));
    return true;
  }
  const absl::Status& status = read.status();
  if (absl::IsNotFound(status)) {
    WithoutPhoto(work, variant);
  } else if (absl::IsFailedPrecondition(status) || absl::IsUnavailable(status)) {
    queue_.Return(work);
  } else {
    Fail(work, status);
  }
  return false;
}

void Slots::WithoutPhoto(const Work& work, const plan::Variant& variant) {
  RenderedVariant stored;
  auto png = blobs_.Get(absl::StrCat("jobs/", work.job_id, "/outputs/", variant.output_name));
  if (!png.ok()) return Fail(work, absl::NotFoundError("its photo was destroyed"));
  stored.png = *std::move(png);
  HandOver({work, variant, std::move(stored), 0});
}

absl::StatusOr<RenderedVariant> Slots::RenderStoppably(VariantRenderer& renderer, const Work& work,
                                                       const Subject& subject, Stops& stops) {
  stops = {.keep_going =
               [this] {
                 if (queue_.Closed()) return false;
                 metrics_.steps_begun.Add();
                 return true;
               },
           .earlier = stopped_.Of(work)};
  auto output = renderer.Render(*work.plan, subject.variant, subject.source, stops);
  if (output.ok() && stops.steps_resumed > 0) {
    metrics_.steps_resumed.Add(stops.steps_resumed);
    spdlog::info("job {} variant {}: went on from step {} of {}, where another worker stopped",
                 work.job_id, work.index, stops.steps_resumed, work.plan->spec().render().steps());
  }
  return output;
}

void Slots::LeaveToOthers(const Work& work, const Stops& stops) {
  const bool further =
      stops.stopped && static_cast<int>(stops.stopped->step()) > stops.steps_resumed;
  if (further && trouble().ok() && queue_.Holds(work.token)) {  // or its job may be cancelled
    const absl::Status kept = stopped_.Keep(work, *stops.stopped);
    if (kept.ok()) {
      metrics_.renders_stopped.Add();
      spdlog::info("job {} variant {}: stopped before step {} of {}; another worker goes on",
                   work.job_id, work.index, stops.stopped->step(), stops.stopped->steps());
    } else {
      spdlog::warn("job {} variant {}: stopped, and begun anew by another worker: {}", work.job_id,
                   work.index, Message(kept));
    }
  }
  queue_.Return(work);
}

Slots::AfterNoRoom Slots::MakeRoom() {
  std::unique_lock lock(mutex_);
  if (rendering_ > 1) {
    --rendering_;
    ++leaving_;
    return AfterNoRoom::kLeave;
  }
  if (leaving_ == noticed_) return AfterNoRoom::kFail;
  others_gone_.wait(lock, [&] { return gone_ == leaving_; });
  noticed_ = leaving_;
  return AfterNoRoom::kAgain;
}

void Slots::Stop(const absl::Status& trouble) {
  queue_.Close();
  std::lock_guard lock(mutex_);
  trouble_ = trouble;
}

void Slots::HandOver(Rendered rendered) {
  std::unique_lock lock(mutex_);
  rendered_room_.wait(lock, [&] { return rendered_.size() < renderers_.size(); });
  rendered_.push_back(std::move(rendered));
  rendered_ready_.notify_one();
}

std::optional<Slots::Rendered> Slots::NextToStore() {
  std::unique_lock lock(mutex_);
  rendered_ready_.wait(lock, [&] { return !rendered_.empty() || rendering_ == 0; });
  if (rendered_.empty()) return std::nullopt;
  Rendered next = std::move(rendered_.front());
  rendered_.pop_front();
  rendered_room_.notify_one();
  return next;
}

void Slots::StoreOne(const Rendered& rendered) {
  const auto start = std::chrono::steady_clock::now();
  const auto& [work, variant, output, seconds] = rendered;
  if (!trouble().ok()) return queue_.Return(work);  // waiting for a store that is gone helps nobody
  v1::ReviewRequest review;
  review.set_kind(v1::REVIEW_KIND_OUTPUT);
  if (moderator_ != nullptr) review.set_picture(output.png);
  if (!IsAllowed(work, variant, review)) return;
  const absl::Status stored = WriteOutput(blobs_, work, variant, output, seconds, worker_id_);
  if (!stored.ok()) return BlobTrouble(work, stored);
  stopped_.Drop(work);
  v1::StageSeconds stages;
  stages.set_encode(output.encode_seconds);
  stages.set_denoise(output.denoise_seconds);
  stages.set_decode(output.decode_seconds);
  stages.set_finish(output.finish_seconds);
  stages.set_store(SecondsSince(start));
  CountImage(work.plan->spec().model(), stages);
  LogEvent("stored");
  {
    std::lock_guard lock(mutex_);
    stored_.push_back(std::chrono::steady_clock::now());
  }
  queue_.Finish(work, seconds, output.png.size(), stages);
}

void Slots::CountImage(const std::string& model, const v1::StageSeconds& stages) {
  const monitoring::WorkerMetrics::OfModel& of_model = metrics_.Of(model);
  of_model.images_rendered.Add();
  of_model.encode_seconds.Observe(stages.encode());
  of_model.denoise_seconds.Observe(stages.denoise());
  of_model.decode_seconds.Observe(stages.decode());
  of_model.finish_seconds.Observe(stages.finish());
  of_model.store_seconds.Observe(stages.store());
}

bool Slots::IsAllowed(const Work& work, const plan::Variant& variant, v1::ReviewRequest& request,
                      const picture::Image* photo) {
  if (moderator_ == nullptr) return true;
  const v1::JobSpec& spec = work.plan->spec();
  request.set_job(spec.name());
  request.set_tenant(spec.tenant());
  const auto id = variant.parameters.find("id");
  const bool is_entry = spec.has_contest() && id != variant.parameters.end();
  request.set_entry(is_entry ? id->second : variant.output_name);
  if (moderator_->HasAllowed(request)) return true;
  if (photo != nullptr) {
    auto png = picture::EncodePng(photo->width, photo->height, photo->rgb);
    if (!png.ok()) {
      Fail(work, png.status());
      return false;
    }
    request.set_picture(*std::move(png));
  }
  const absl::Status answer = moderator_->Review(request);
  if (photo != nullptr) seal::Wipe(std::span(*request.mutable_picture()));
  if (!answer.ok()) Fail(work, answer, absl::IsPermissionDenied(answer));
  return answer.ok();
}

void Slots::BlobTrouble(const Work& work, const absl::Status& status) {
  if (absl::IsDataLoss(status) || absl::IsInvalidArgument(status)) return Fail(work, status);
  queue_.Return(work);
  Stop(status);
}

void Slots::MeasureRate() {
  std::lock_guard lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  while (!stored_.empty() && now - stored_.front() > kRateWindow) stored_.pop_front();
  const std::chrono::duration<double> window =
      std::min<decltype(now - start_)>(now - start_, kRateWindow);
  metrics_.images_per_second.Set(static_cast<double>(stored_.size()) / window.count());
}

void Slots::Fail(const Work& work, const absl::Status& status, bool vetoed) {
  metrics_.Failures(status.code()).Add();
  spdlog::warn("job {} variant {}: {}", work.job_id, work.index, Message(status));
  stopped_.Drop(work);  // should they be to blame
  queue_.Fail(work, Message(status), vetoed);
}

}  // namespace tiltshift::worker
