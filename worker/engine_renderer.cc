#include <omp.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <span>

#include "base/shortened.h"
#include "engine/describe.h"
#include "engine/renderer.h"
#include "picture/photo_process.h"
#include "picture/png.h"
#include "plan/model_folder.h"
#include "seal/secret.h"
#include "worker/model_cache.h"
#include "worker/provenance.h"
#include "worker/variant_renderer.h"

namespace tiltshift::worker {
namespace {

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
  request.clip_skip = static_cast<int>(settings.clip_skip());
  request.sampler = ToEngine(settings.sampler());
  return request;
}

// What is wrong with a file, no longer than a scheduler takes.
std::string ProblemOf(const absl::Status& status) { return Shortened(Message(status), 1'000); }

// What a job's ControlNets are shown, decoded when its first variant comes: a stranger's bytes, like
// photos.
class ControlPictures {
 public:
  // Valid until the next call.
  absl::StatusOr<std::span<const picture::Image>> Of(const v1::JobSpec& spec) {
    const auto same = [](const std::string& kept, const v1::Control& control) {
      return kept == control.picture();
    };
    if (std::ranges::equal(bytes_, spec.controls(), same))
      return std::span<const picture::Image>(pictures_);
    bytes_.clear();
    pictures_.clear();
    std::vector<picture::Image> pictures;
    for (int i = 0; i < spec.controls_size(); ++i) {
      auto picture = process_.Decode(spec.controls(i).picture());
      if (!picture.ok())
        return Annotate(picture.status(), absl::StrCat("controls[", i, "].picture"));
      pictures.push_back(*std::move(picture));
    }
    pictures_ = std::move(pictures);
    for (const v1::Control& control : spec.controls()) bytes_.push_back(control.picture());
    return std::span<const picture::Image>(pictures_);
  }

 private:
  std::vector<std::string> bytes_;  // of what pictures_ are
  std::vector<picture::Image> pictures_;
  const picture::PhotoProcess process_;
};

engine::RenderState FromProto(const v1::StoppedRender& stopped) {
  return {.step = static_cast<int>(stopped.step()),
          .latent = {stopped.latent().begin(), stopped.latent().end()},
          .history = {stopped.history().begin(), stopped.history().end()}};
}

v1::StoppedRender ToProto(const engine::RenderState& state, int steps,
                          const std::string& render_class) {
  v1::StoppedRender stopped;
  stopped.set_render_class(render_class);
  stopped.set_step(static_cast<uint32_t>(state.step));
  stopped.set_steps(static_cast<uint32_t>(steps));
  stopped.mutable_latent()->Add(state.latent.begin(), state.latent.end());
  stopped.mutable_history()->Add(state.history.begin(), state.history.end());
  return stopped;
}

class EngineRenderer : public VariantRenderer {
 public:
  explicit EngineRenderer(std::shared_ptr<ModelCache> models) : models_(std::move(models)) {}

  absl::StatusOr<RenderedVariant> Render(const plan::Plan& plan, const plan::Variant& variant,
                                         const Source& source, Stops& stops) override {
    omp_set_num_threads(1);  // of this slot's thread
    const v1::JobSpec& spec = plan.spec();
    TS_ASSIGN_OR_RETURN(const auto model, models_->Get(spec));
    if (model != model_) {
      renderer_.reset();  // with what it holds of the last one
      model_ = model;
      renderer_ = std::make_unique<engine::Renderer>(model);
    }
    engine::RenderRequest request = ToRequest(spec.render(), variant);
    // Of a photo and a mask of one size it is the same part.
    const auto middle_of = [&](const picture::Image& image) {
      return engine::MiddleOf({image.width, image.height, image.rgb},
                              {request.width, request.height});
    };
    engine::RgbImage photo, mask;
    if (source.photo != nullptr) {
      request.mode = source.mask != nullptr ? engine::Mode::kInpaint : model->photo_mode();
      photo = middle_of(*source.photo);
      request.photo = photo.view();
      if (source.mask != nullptr) mask = middle_of(*source.mask);
      request.mask = mask.view();
      request.strength = spec.render().strength();
      request.image_guidance_scale = spec.render().image_guidance_scale();
    }
    TS_ASSIGN_OR_RETURN(const std::span<const picture::Image> pictures, control_pictures_.Of(spec));
    for (size_t i = 0; i < pictures.size(); ++i) {
      const v1::Control& control = spec.controls(static_cast<int>(i));
      request.controls.push_back({{pictures[i].width, pictures[i].height, pictures[i].rgb},
                                  control.start(),
                                  control.end()});
    }
    const auto made = RenderFrom(request, model->render_class(), stops);
    seal::Wipe(std::span(photo.rgb));
    seal::Wipe(std::span(mask.rgb));
    if (!made.ok()) return made.status();
    const engine::Picture& picture = *made;
    const auto start = std::chrono::steady_clock::now();
    RenderedVariant rendered;
    TS_ASSIGN_OR_RETURN(const std::string png,
                        picture::EncodePng(picture.width, picture.height, picture.rgb));
    TS_ASSIGN_OR_RETURN(rendered.png, WithProvenance(png, spec, variant, model->render_class(),
                                                     models_->options().signer.get()));
    const std::chrono::duration<double> finish = std::chrono::steady_clock::now() - start;
    rendered.render_class = model->render_class();
    rendered.encode_seconds = picture.seconds.encode;
    rendered.denoise_seconds = picture.seconds.denoise;
    rendered.decode_seconds = picture.seconds.decode;
    rendered.finish_seconds = finish.count();
    return rendered;
  }

 private:
  absl::StatusOr<engine::Picture> RenderFrom(const engine::RenderRequest& request,
                                             const std::string& render_class, Stops& stops) {
    // What a photo has become on the way shows it: that never leaves memory, so such a render is
    // made to its end.
    if (request.mode != engine::Mode::kTextToImage) return renderer_->Render(request);
    engine::RenderState state;
    for (const v1::StoppedRender& earlier : stops.earlier) {
      if (earlier.render_class() != render_class) continue;
      state = FromProto(earlier);
      break;
    }
    stops.steps_resumed = state.step;
    auto picture = renderer_->Render(request, {.keep_going = stops.keep_going, .state = &state});
    if (absl::IsCancelled(picture.status()) && state.step > 0) {
      stops.stopped = ToProto(state, request.steps, render_class);
    }
    return picture;
  }

  std::shared_ptr<ModelCache> models_;
  std::shared_ptr<const engine::Model> model_;
  std::unique_ptr<engine::Renderer> renderer_;
  ControlPictures control_pictures_;
};

class EngineRenderers : public Renderers {
 public:
  explicit EngineRenderers(const EngineOptions& options)
      : models_(std::make_shared<ModelCache>(options)) {}

  std::unique_ptr<VariantRenderer> MakeOne() override {
    return std::make_unique<EngineRenderer>(models_);
  }

  // The folders of the model folder; of those that can't be rendered, why, which the log has as
  // well.
  absl::StatusOr<std::vector<v1::ModelInfo>> Models() override {
    misfits_.clear();
    const EngineOptions& options = models_->options();
    const auto precision = options.force_fp32 ? engine::Precision::kFp32 : engine::Precision::kAuto;
    engine::Beside beside;
    for (const std::string& name : plan::LoraNames(options.models_folder))
      beside.loras.push_back(plan::LoraPath(options.models_folder, name));
    for (const std::string& name : plan::ControlNames(options.models_folder))
      beside.controls.push_back(absl::StrCat(options.models_folder, "/", name));
    std::vector<v1::ModelInfo> infos;
    bool usable = false;
    for (const std::string& name : plan::ModelNames(options.models_folder)) {
      const auto summary = engine::Model::Examine(
          absl::StrCat(options.models_folder, "/", name),
          {.precision = precision, .device = options.device, .weight_cache = options.weight_cache},
          beside);
      v1::ModelInfo& info = infos.emplace_back();
      info.set_name(name);
      if (!summary.ok()) {
        spdlog::warn("model {} can't be rendered: {}", name, Message(summary.status()));
        info.set_problem(ProblemOf(summary.status()));
        continue;
      }
      usable = true;
      info.set_hash(summary->hash);
      info.set_render_class(summary->render_class);
      info.set_memory_mb((summary->weight_bytes + 999'999) / 1'000'000);
      info.set_needs(summary->demands.needs);
      info.set_size_multiple(static_cast<uint32_t>(summary->demands.size_multiple));
      info.set_names_no_sampler(!summary->demands.has_sampler);
      for (const std::string& path : summary->demands.misfits) misfits_[path].push_back(name);
    }
    if (usable) return infos;
    return absl::NotFoundError(
        absl::StrCat("--models ", options.models_folder,
                     ": no model there that can be rendered; a model is a folder in it, in the "
                     "layout of diffusers, with model_index.json"));
  }

  std::vector<v1::BesideInfo> Loras() override {
    const std::string& folder = models_->options().models_folder;
    std::vector<v1::BesideInfo> infos;
    for (const std::string& name : plan::LoraNames(folder)) {
      const std::string path = plan::LoraPath(folder, name);
      const auto lora = engine::DescribeLora(path);
      infos.push_back(Beside(name, path, lora.status(), lora.ok() ? lora->hash : ""));
    }
    return infos;
  }

  std::vector<v1::BesideInfo> Controls() override {
    const std::string& folder = models_->options().models_folder;
    std::vector<v1::BesideInfo> infos;
    for (const std::string& name : plan::ControlNames(folder)) {
      const std::string path = absl::StrCat(folder, "/", name);
      const auto control = engine::ExamineControl(path);
      infos.push_back(Beside(name, path, control.status(), control.ok() ? control->hash : ""));
      if (control.ok()) infos.back().set_memory_mb((control->weight_bytes + 999'999) / 1'000'000);
    }
    return infos;
  }

  std::vector<std::string> Loaded() const override { return models_->Loaded(); }

 private:
  v1::BesideInfo Beside(const std::string& name, const std::string& path,
                        const absl::Status& status, const std::string& hash) {
    v1::BesideInfo info;
    info.set_name(name);
    info.set_hash(hash);
    if (!status.ok()) info.set_problem(ProblemOf(status));
    for (const std::string& model : misfits_[path]) info.add_misfits(model);
    return info;
  }

  const std::shared_ptr<ModelCache> models_;
  std::map<std::string, std::vector<std::string>>
      misfits_;  // a LoRA's or ControlNet's path -> models it does not fit
};

}  // namespace

std::unique_ptr<Renderers> MakeEngineRenderers(const EngineOptions& options) {
  return std::make_unique<EngineRenderers>(options);
}

}  // namespace tiltshift::worker
