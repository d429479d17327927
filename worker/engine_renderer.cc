#include <omp.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>

#include "engine/renderer.h"
#include "picture/png.h"
#include "worker/variant_renderer.h"

namespace tiltshift::worker {
namespace {

namespace fs = std::filesystem;
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
      std::lock_guard names(names_mutex_);
      loaded_.insert(name);
    }
    return model;
  }

  std::vector<std::string> Loaded() const {
    std::lock_guard lock(names_mutex_);
    return {loaded_.begin(), loaded_.end()};
  }
  const EngineOptions& options() const { return options_; }

 private:
  const EngineOptions options_;
  std::mutex mutex_;
  mutable std::mutex names_mutex_;  // never held for long
  std::set<std::string> loaded_;
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
    case v1::SAMPLER_EULER_A:
      return engine::SamplerKind::kEulerAncestral;
    case v1::SAMPLER_DPMPP_2M:
      return engine::SamplerKind::kDpmpp2m;
    case v1::SAMPLER_DPMPP_2M_KARRAS:
      return engine::SamplerKind::kDpmpp2mKarras;
    case v1::SAMPLER_LCM:
      return engine::SamplerKind::kLcm;
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

class EngineRenderers : public Renderers {
 public:
  explicit EngineRenderers(const EngineOptions& options)
      : models_(std::make_shared<ModelCache>(options)) {}

  std::unique_ptr<VariantRenderer> MakeOne() override {
    return std::make_unique<EngineRenderer>(models_);
  }

  // The folders of the model folder that this engine can render; others are named in the log.
  absl::StatusOr<std::vector<v1::ModelInfo>> Models() override {
    const EngineOptions& options = models_->options();
    const auto precision = options.force_fp32 ? engine::Precision::kFp32 : engine::Precision::kAuto;
    std::vector<v1::ModelInfo> infos;
    std::error_code failed;
    for (const auto& entry : fs::directory_iterator(options.models_folder, failed)) {
      if (!fs::exists(entry.path() / "model_index.json", failed)) continue;
      const auto summary = engine::Model::Examine(entry.path(), {precision});
      if (!summary.ok()) {
        spdlog::warn("model left out: {}", Message(summary.status()));
        continue;
      }
      v1::ModelInfo& info = infos.emplace_back();
      info.set_name(entry.path().filename());
      info.set_hash(summary->hash);
      info.set_render_class(summary->render_class);
      info.set_memory_mb((summary->weight_bytes + 999'999) / 1'000'000);
    }
    std::sort(infos.begin(), infos.end(),
              [](const auto& a, const auto& b) { return a.name() < b.name(); });
    if (!infos.empty()) return infos;
    return absl::NotFoundError(
        absl::StrCat("--models ", options.models_folder,
                     ": no model there that can be rendered; a model is a folder in it, in the "
                     "layout of diffusers, with model_index.json"));
  }

  std::vector<std::string> Loaded() const override { return models_->Loaded(); }

 private:
  const std::shared_ptr<ModelCache> models_;
};

}  // namespace

std::unique_ptr<Renderers> MakeEngineRenderers(const EngineOptions& options) {
  return std::make_unique<EngineRenderers>(options);
}

}  // namespace tiltshift::worker
