#include <omp.h>

#include <chrono>
#include <map>
#include <mutex>

#include "engine/renderer.h"
#include "picture/png.h"
#include "worker/variant_renderer.h"

namespace tiltshift::worker {
namespace {

using ModelKey = std::pair<std::string, engine::Precision>;

// The models of a process. A model that failed to load is tried again at the next variant that asks
// for it.
class ModelCache {
 public:
  explicit ModelCache(EngineOptions options) : options_(std::move(options)) {}

  absl::StatusOr<std::shared_ptr<const engine::Model>> Get(const std::string& name,
                                                           engine::Precision precision) {
    if (options_.force_fp32) precision = engine::Precision::kFp32;
    std::lock_guard lock(mutex_);
    auto& model = models_[{name, precision}];
    if (model == nullptr) {
      const std::string folder = absl::StrCat(options_.models_folder, "/", name);
      auto loaded = engine::Model::Load(folder, {precision});
      if (!loaded.ok()) return Annotate(loaded.status(), absl::StrCat("model ", name));
      model = *std::move(loaded);
    }
    return model;
  }

 private:
  const EngineOptions options_;
  std::mutex mutex_;
  std::map<ModelKey, std::shared_ptr<const engine::Model>> models_;
};

engine::Precision ToEngine(v1::Precision precision) {
  switch (precision) {
    case v1::PRECISION_BF16:
      return engine::Precision::kBf16;
    case v1::PRECISION_FP32:
      return engine::Precision::kFp32;
    default:
      return engine::Precision::kAuto;
  }
}

engine::SamplerKind ToEngine(v1::Sampler sampler) {
  switch (sampler) {
    case v1::SAMPLER_DDIM:
      return engine::SamplerKind::kDdim;
    case v1::SAMPLER_EULER:
      return engine::SamplerKind::kEuler;
    case v1::SAMPLER_DPMPP_2M:
      return engine::SamplerKind::kDpmpp2m;
    default:
      return engine::SamplerKind::kModelDefault;
  }
}

engine::RenderRequest ToRequest(const v1::RenderSettings& settings, const plan::Variant& variant) {
  engine::RenderRequest request;
  request.prompt = variant.prompt;
  request.negative_prompt = variant.negative_prompt;
  request.seed = variant.seed;
  request.width = static_cast<int>(settings.width());
  request.height = static_cast<int>(settings.height());
  request.steps = static_cast<int>(settings.steps());
  request.guidance_scale = settings.guidance_scale();
  request.sampler = ToEngine(settings.sampler());
  return request;
}

class EngineRenderer : public VariantRenderer {
 public:
  explicit EngineRenderer(std::shared_ptr<ModelCache> models) : models_(std::move(models)) {}

  absl::StatusOr<RenderedVariant> Render(const plan::Plan& plan, const plan::Variant& variant,
                                         const std::function<bool()>& keep_going) override {
    omp_set_num_threads(1);  // of this slot's thread
    const v1::JobSpec& spec = plan.spec();
    TS_ASSIGN_OR_RETURN(const auto model,
                        models_->Get(spec.model(), ToEngine(spec.render().precision())));
    if (model != model_) {
      model_ = model;
      renderer_ = std::make_unique<engine::Renderer>(model);
    }
    TS_ASSIGN_OR_RETURN(const engine::Picture picture,
                        renderer_->Render(ToRequest(spec.render(), variant), keep_going));
    const auto start = std::chrono::steady_clock::now();
    RenderedVariant rendered;
    TS_ASSIGN_OR_RETURN(rendered.png,
                        picture::EncodePng(picture.width, picture.height, picture.rgb));
    const std::chrono::duration<double> finish = std::chrono::steady_clock::now() - start;
    rendered.render_class = model->render_class();
    rendered.encode_seconds = picture.seconds.encode;
    rendered.denoise_seconds = picture.seconds.denoise;
    rendered.decode_seconds = picture.seconds.decode;
    rendered.finish_seconds = finish.count();
    return rendered;
  }

 private:
  std::shared_ptr<ModelCache> models_;
  std::shared_ptr<const engine::Model> model_;
  std::unique_ptr<engine::Renderer> renderer_;
};

}  // namespace

RendererFactory MakeEngineFactory(const EngineOptions& options) {
  auto models = std::make_shared<ModelCache>(options);
  return [models] { return std::make_unique<EngineRenderer>(models); };
}

}  // namespace tiltshift::worker
