// What a slot renders with: the engine, or nothing at all. One a slot; the factory is shared by the
// slots.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/device.h"
#include "engine/pack/weight_cache.h"
#include "picture/image.h"
#include "plan/plan.h"
#include "proto/stopped_render.pb.h"
#include "proto/worker.pb.h"
#include "provenance/signer.h"

namespace tiltshift::worker {

struct RenderedVariant {
  std::string png;
  std::string render_class;
  double encode_seconds = 0, denoise_seconds = 0, decode_seconds = 0, finish_seconds = 0;
};

// How a render may stop between two steps, and go on elsewhere.
struct Stops {
  std::function<bool()> keep_going;        // where set: asked before each step; false: stop there
  std::vector<v1::StoppedRender> earlier;  // where others stopped, the furthest first

  // Written by the renderer.
  int steps_resumed = 0;                     // made by others
  std::optional<v1::StoppedRender> stopped;  // where it stopped; none: before the first step
};

// What a variant is made from beside its prompt; null: of no such thing.
struct Source {
  const picture::Image* photo = nullptr;
  const picture::Image* mask = nullptr;  // of the photo and its size: white is made anew
};

class VariantRenderer {
 public:
  virtual ~VariantRenderer() = default;
  // Goes on from the first of
  // `earlier` that is of its render class, else begins at the beginning. Cancelled: it was asked to
  // stop, and did. ResourceExhausted: the device's memory is too small for as many renderers as
  // there are. Aborted: the device has failed, and this process can't use it any more.
  virtual absl::StatusOr<RenderedVariant> Render(const plan::Plan& plan,
                                                 const plan::Variant& variant, const Source& source,
                                                 Stops& stops) = 0;
};

// What all slots of a worker render with.
class Renderers {
 public:
  virtual ~Renderers() = default;
  virtual std::unique_ptr<VariantRenderer> MakeOne() = 0;  // one a slot
  // What it can render, and with which bits. NotFound where that is nothing.
  virtual absl::StatusOr<std::vector<v1::ModelInfo>> Models() = 0;
  // What may be used beside them. After Models(), which finds what fits what.
  virtual std::vector<v1::BesideInfo> Loras() { return {}; }
  virtual std::vector<v1::BesideInfo> Controls() { return {}; }
  virtual std::vector<std::string> Loaded() const { return {}; }  // in memory now; any thread
};

struct EngineOptions {
  std::string models_folder;
  bool force_fp32 = false;
  engine::Device device = engine::Device::kCpu;
  std::shared_ptr<engine::WeightCache> weight_cache;  // may be null
  std::shared_ptr<const provenance::Signer> signer;   // of content credentials; null: none
};

// Models are loaded at first use and shared by all slots; each slot's oneDNN work stays on the
// slot's thread.
std::unique_ptr<Renderers> MakeEngineRenderers(const EngineOptions& options);

// Renders nothing: a 1x1 picture whose colour follows the variant, for testing a farm's control
// plane. `signer`: as in EngineOptions.
std::unique_ptr<Renderers> MakeNoopRenderers(std::shared_ptr<const provenance::Signer> signer);

}  // namespace tiltshift::worker
