// The slots: each takes variants from the queue and renders them on one thread, while a second
// stores the one before, so that a slow disk or network keeps no renderer waiting. At most one
// rendered variant a slot waits to be stored.
//
// When the queue is closed, renders stop before their next step: what they have come to goes to the
// blob store, and the variants back to the farm, where another worker goes on (stopped_renders.h).
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "moderation/moderator.h"
#include "monitoring/metrics.h"
#include "store/blob_store.h"
#include "worker/entry_reader.h"
#include "worker/lease_queue.h"
#include "worker/photo_reader.h"
#include "worker/stopped_renders.h"
#include "worker/variant_renderer.h"

namespace tiltshift::worker {

class Slots {
 public:
  // `moderator` is asked about each prompt, photo and picture; null: nobody is.
  Slots(int count, Renderers& renderers, LeaseQueue& queue, store::BlobStore& blobs,
        monitoring::WorkerMetrics& metrics, std::string worker_id, PhotoReader* photos = nullptr,
        moderation::Moderator* moderator = nullptr);
  // Joins: the queue must have been closed.
  ~Slots();

  // Not OK once the blob store could not be written, or the device has failed: the worker's
  // trouble, not a variant's. It should leave.
  absl::Status trouble() const;
  // Sets the gauge of images a second over the last minute; to be called often.
  void MeasureRate();
  // Slots that render now. Any thread.
  uint32_t busy() const { return busy_; }

 private:
  struct Rendered {
    Work work;
    plan::Variant variant;
    RenderedVariant output;
    double seconds = 0;  // of rendering
  };
  void RunRenderer(std::unique_ptr<VariantRenderer>& renderer);
  void RunStorer();
  // False: the device's memory is too small for this renderer beside the others, and it ends; the
  // variant goes back to the farm.
  bool RenderOne(VariantRenderer& renderer, const Work& work);
  // What a variant is made from, while it is in memory.
  struct Opened {
    std::optional<PhotoPixels> photo, mask;
    Source source() const {
      return {photo ? &photo->image() : nullptr, mask ? &mask->image() : nullptr};
    }
  };
  // These three are false where there is nothing (more) to do for the variant, and it is settled.
  // Reads photo and mask, where the variant has them, and has the photo reviewed.
  bool OpenPhotos(const Work& work, const plan::Variant& variant, Opened& opened);
  bool ReadPhoto(const Work& work, const plan::Variant& variant, const std::string& id,
                 std::optional<PhotoPixels>& pixels);
  // Asks the moderator about the variant's prompt, its photo or its picture. `request` has the kind
  // and what is reviewed; `photo`, where not null, is that.
  bool IsAllowed(const Work& work, const plan::Variant& variant, v1::ReviewRequest& request,
                 const picture::Image* photo = nullptr);
  // Its photo is gone. Where its picture was stored before, by whoever did not live to say so, it
  // counts; else it fails.
  void WithoutPhoto(const Work& work, const plan::Variant& variant);
  struct Subject {
    const plan::Variant& variant;
    Source source;
  };
  absl::StatusOr<RenderedVariant> RenderStoppably(VariantRenderer& renderer, const Work& work,
                                                  const Subject& subject, Stops& stops);
  // The variant goes back to the farm, and what there is of it to the blob store.
  void LeaveToOthers(const Work& work, const Stops& stops);
  // What a renderer does that found no room on the device: it leaves while others stay; the last
  // one tries again once those that left are gone, with what they held; after that, its variant
  // fails. Decided in one step, so that the last but one can't leave between two questions.
  enum class AfterNoRoom { kLeave, kAgain, kFail };
  AfterNoRoom MakeRoom();
  void Stop(const absl::Status& trouble);
  void CountImage(const std::string& model, const v1::StageSeconds& stages);
  void StoreOne(const Rendered& rendered);
  // The variant fails where it is to blame, else the worker leaves.
  void BlobTrouble(const Work& work, const absl::Status& status);
  // Blocks while as many wait as there are slots.
  void HandOver(Rendered rendered);
  // Blocks for the next one; nullopt when all are stored and no renderer is left.
  std::optional<Rendered> NextToStore();
  // Does `what`, one variant's; what it throws (out of memory, or a library's own) fails that one.
  template <typename What>
  void Guarded(const Work& work, What what);
  void Fail(const Work& work, const absl::Status& status, bool vetoed = false);

  LeaseQueue& queue_;
  store::BlobStore& blobs_;
  EntryReader entries_;
  StoppedRenders stopped_;
  monitoring::WorkerMetrics& metrics_;
  std::atomic<uint32_t> busy_{0};
  const std::string worker_id_;
  PhotoReader* const photos_;  // null: none can be read
  moderation::Moderator* const moderator_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  mutable std::mutex mutex_;
  absl::Status trouble_;
  std::condition_variable rendered_ready_, rendered_room_;
  std::deque<Rendered> rendered_;  // not stored yet
  int rendering_ = 0;              // renderers' threads left
  // Renderers that found no room, those of them that are gone, and how many of them the last
  // noticed.
  int leaving_ = 0, gone_ = 0, noticed_ = 0;
  std::condition_variable others_gone_;
  std::deque<std::chrono::steady_clock::time_point> stored_;  // images of the last minute
  std::vector<std::unique_ptr<VariantRenderer>> renderers_;
  std::vector<std::thread> threads_;
};

}  // namespace tiltshift::worker
