#include "engine/renderer.h"

#include <chrono>
#include <cmath>

#include "engine/pipeline.h"
#include "engine/shared_denoiser.h"
#include "engine/starting_point.h"

namespace tiltshift::engine {
namespace {

constexpr int kMinPixels = 64;
constexpr int kMaxPixels = 2048;
constexpr int kMaxSteps = 1000;
constexpr double kMaxGuidance = 100;

class Stopwatch {
 public:
  // Seconds since the last lap.
  double Lap() {
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - last_).count();
    last_ = now;
    return seconds;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

absl::Status CheckSide(const char* name, int pixels, int multiple) {
  if (pixels >= kMinPixels && pixels <= kMaxPixels && pixels % multiple == 0)
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, " is ", pixels,
                                                 "; this model renders multiples of ", multiple,
                                                 " from ", kMinPixels, " to ", kMaxPixels));
}

absl::Status CheckRequest(const RenderRequest& request, const Model::Impl& model) {
  const ModelConfig& config = model.config;
  const int multiple = config.size_multiple();
  TS_RETURN_IF_ERROR(CheckSide("width", request.width, multiple));
  TS_RETURN_IF_ERROR(CheckSide("height", request.height, multiple));
  if (request.steps < 1 || request.steps > kMaxSteps) {
    return absl::InvalidArgumentError(
        absl::StrCat("steps is ", request.steps, "; it must be 1 to ", kMaxSteps));
  }
  if (!(request.guidance_scale >= 0 && request.guidance_scale <= kMaxGuidance)) {
    return absl::InvalidArgumentError(absl::StrCat("guidance_scale is ", request.guidance_scale,
                                                   "; it must be 0 to ", kMaxGuidance));
  }
  return CheckMode(request, config, model.controls.size());
}

SamplerOptions SamplerOptionsOf(const RenderRequest& request) {
  const bool from_photo = request.mode == Mode::kImageToImage || request.mode == Mode::kInpaint;
  return {.steps = request.steps, .strength = from_photo ? request.strength : 1};
}

// A distillation that takes the scale as a number was taught guidance: one forward a step has it.
bool IsGuided(const RenderRequest& request, const ModelConfig& config) {
  if (request.mode == Mode::kEdit && request.image_guidance_scale < 1) return false;
  return request.guidance_scale > 1 && config.unet.guidance_embed_dim == 0;
}

// A model with damaged weights, or with values that its precision cannot hold, would end as a black
// picture.
absl::Status CheckNumbers(std::span<const float> values, const char* what) {
  for (const float value : values) {
    if (!std::isfinite(value)) {
      return absl::InternalError(
          absl::StrCat(what,
                       " has values that are not numbers: the model's weights are damaged, "
                       "or too large for this precision (try precision fp32)"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckState(const RenderState& state, const Sampler& sampler, size_t latent_floats) {
  if (state.step == 0) return absl::OkStatus();
  const size_t history_floats = sampler.history_floats(latent_floats);
  if (state.step > 0 && state.step < sampler.steps() && state.latent.size() == latent_floats &&
      state.history.size() == history_floats)
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the state before step ", state.step, " with ", state.latent.size(), " numbers and ",
      state.history.size(), " of history is none of this request's, which has ", sampler.steps(),
      " steps, ", latent_floats, " numbers and ", history_floats, " of history"));
}

// From where `between` says, and back there where it stops.
absl::Status Denoise(Pipeline& pipeline, DenoiseOptions options, const BetweenSteps& between,
                     std::vector<float>& latent) {
  if (between.state == nullptr) return pipeline.Denoise(options, between.keep_going, latent);
  RenderState& state = *between.state;
  TS_RETURN_IF_ERROR(CheckState(state, *options.sampler, latent.size()));
  DenoiseState at = {state.step, state.history};
  if (state.step > 0) latent = state.latent;
  options.state = &at;
  const absl::Status denoised = pipeline.Denoise(options, between.keep_going, latent);
  if (absl::IsCancelled(denoised)) {
    state = at.step == 0 ? RenderState{} : RenderState{at.step, latent, std::move(at.history)};
  }
  return denoised;
}

// -1..1 to 0..255, to nearest, ties to even.
uint8_t ToByte(float value) {
  const float unit = std::fmin(std::fmax(value * 0.5f + 0.5f, 0.0f), 1.0f);
  return static_cast<uint8_t>(std::nearbyint(unit * 255.0f));
}

}  // namespace

struct Renderer::Impl {
  explicit Impl(std::shared_ptr<const Model> model) : pipeline(std::move(model)) {}
  absl::StatusOr<Picture> Render(const RenderRequest& request, const BetweenSteps& between);

  Pipeline pipeline;
  std::vector<float> decoded;
};

Renderer::Renderer(std::shared_ptr<const Model> model)
    : impl_(std::make_unique<Impl>(std::move(model))) {}
Renderer::~Renderer() = default;

absl::StatusOr<Picture> Renderer::Render(const RenderRequest& request,
                                         const BetweenSteps& between) {
  auto picture = impl_->Render(request, between);
  const auto& denoiser = impl_->pipeline.model().denoiser;
  const bool full = absl::IsResourceExhausted(picture.status());
  // What other renderers' batches have left may be what this one lacks.
  if (full && denoiser != nullptr && denoiser->DropSpare())
    picture = impl_->Render(request, between);
  return picture;
}

absl::StatusOr<Picture> Renderer::Impl::Render(const RenderRequest& request,
                                               const BetweenSteps& between) {
  const ModelConfig& config = pipeline.model().config;
  TS_RETURN_IF_ERROR(CheckRequest(request, pipeline.model()));
  TS_ASSIGN_OR_RETURN(const auto sampler,
                      MakeSampler(request.sampler, config.noise, SamplerOptionsOf(request)));
  Picture picture;
  picture.width = request.width;
  picture.height = request.height;
  Stopwatch stopwatch;
  TS_ASSIGN_OR_RETURN(StartingPoint start, FindStart(request, *sampler, pipeline));
  TS_ASSIGN_OR_RETURN(const std::vector<Hint> hints,
                      FindHints(request, sampler->steps(), pipeline));
  std::vector<ControlHint> controls;
  for (const Hint& hint : hints) controls.push_back({hint.buffer.get(), hint.first, hint.end});
  TS_ASSIGN_OR_RETURN(const PromptPair pair, pipeline.Encode({.prompt = request.prompt,
                                                              .guided = IsGuided(request, config),
                                                              .negative = request.negative_prompt,
                                                              .clip_skip = request.clip_skip}));
  picture.seconds.encode = stopwatch.Lap();

  DenoiseOptions options;
  options.size = {request.height / config.vae.scale(), request.width / config.vae.scale()};
  options.sampler = sampler.get();
  options.prompt = pair.prompt;
  options.negative = pair.negative;
  options.guidance_scale = static_cast<float>(request.guidance_scale);
  options.seed = request.seed;
  options.extra = start.extra;
  if (request.mode == Mode::kEdit) {
    options.image_guidance_scale = static_cast<float>(request.image_guidance_scale);
  }
  options.blend = {start.clean, start.noise, start.mask};
  options.controls = controls;
  options.after_step = between.after_step;
  TS_RETURN_IF_ERROR(Denoise(pipeline, options, between, start.latent));
  TS_RETURN_IF_ERROR(CheckNumbers(start.latent, "the denoised latent"));
  picture.seconds.denoise = stopwatch.Lap();

  decoded.resize(pipeline.PictureFloats(options.size));
  TS_RETURN_IF_ERROR(pipeline.coder().Decode(options.size, start.latent, decoded, request.tiling));
  TS_RETURN_IF_ERROR(CheckNumbers(decoded, "the decoded picture"));
  picture.rgb.resize(decoded.size());
  for (size_t i = 0; i < picture.rgb.size(); ++i) picture.rgb[i] = ToByte(decoded[i]);
  picture.seconds.decode = stopwatch.Lap();
  return picture;
}

}  // namespace tiltshift::engine
