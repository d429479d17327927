#include "engine/testing/precision_error.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "engine/philox.h"
#include "engine/pipeline.h"

namespace tiltshift::engine::testing {
namespace {

// The built-in model's own words, in eight scenes.
constexpr const char* kPrompts[] = {
    "a miniature red robot on a round wooden base, studio light",
    "a miniature blue cat on a round wooden base, beach",
    "a miniature green dog on a grass base, forest",
    "a miniature yellow car on a stone base, city at night",
    "a miniature white house on a round wooden base, snow",
    "a miniature orange dinosaur on a sand base, desert",
    "a miniature purple mushroom on a grass base, studio light",
    "a miniature black chess knight on a stone base, library",
};
constexpr const char* kNegative = "blurry";
constexpr float kGuidanceScale = 4;

struct Rendered {
  std::vector<std::vector<float>> latents;  // after each step
  std::vector<double> bytes;
};

class Way {
 public:
  Way(std::shared_ptr<const Model> model, const PrecisionOptions& options)
      : pipeline_(std::move(model)), steps_(options.steps) {
    const int side = options.size / pipeline_.model().config.vae.scale();
    size_ = {side, side};
  }

  absl::StatusOr<Rendered> Render(const char* prompt, uint64_t seed) {
    TS_ASSIGN_OR_RETURN(const PromptPair pair,
                        pipeline_.Encode({.prompt = prompt, .guided = true, .negative = kNegative}));
    TS_ASSIGN_OR_RETURN(const auto sampler, MakeSampler(SamplerKind::kDpmpp2m, pipeline_.model().config.noise,
                                                        {.steps = steps_}));
    std::vector<float> latent(pipeline_.LatentFloats(size_));
    FillNormal(seed, 0, latent);
    for (float& value : latent) value *= sampler->initial_noise_sigma();
    Rendered rendered;
    const DenoiseOptions options = {
        .size = size_,
        .sampler = sampler.get(),
        .prompt = pair.prompt,
        .negative = pair.negative,
        .guidance_scale = kGuidanceScale,
        .seed = seed,
        .after_step = [&](int, std::span<const float> now) { rendered.latents.emplace_back(now.begin(), now.end()); }};
    TS_RETURN_IF_ERROR(pipeline_.Denoise(options, nullptr, latent));
    std::vector<float> picture(pipeline_.PictureFloats(size_));
    TS_RETURN_IF_ERROR(pipeline_.coder().Decode(size_, latent, picture));
    for (const float value : picture) {
      rendered.bytes.push_back(std::round(std::clamp((value + 1) * 127.5, 0.0, 255.0)));
    }
    return rendered;
  }

 private:
  Pipeline pipeline_;
  int steps_;
  LatentSize size_;
};

template <class T>
double SquaredDistance(const std::vector<T>& a, const std::vector<T>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
  return sum;
}

double RelativeL2(const std::vector<float>& a, const std::vector<float>& b) {
  return std::sqrt(SquaredDistance(a, b) / SquaredDistance(b, std::vector<float>(b.size())));
}

double Psnr(double mean_square) { return mean_square == 0 ? 99 : 10 * std::log10(255 * 255 / mean_square); }

}  // namespace

absl::StatusOr<PrecisionError> MeasurePrecision(Precision precision, const PrecisionOptions& options) {
  TS_ASSIGN_OR_RETURN(const auto subject_model, Model::Load(options.model, {.precision = precision}));
  TS_ASSIGN_OR_RETURN(const auto reference_model,
                      Model::Load(options.model, {.precision = Precision::kFp32, .library_products = true}));
  Way subject(subject_model, options), reference(reference_model, options);
  PrecisionError error;
  error.latents.resize(options.steps);
  error.worst_psnr = 99;
  double mean_square = 0;
  const int prompts = std::min<int>(options.prompts, std::size(kPrompts));
  for (int i = 0; i < prompts; ++i) {
    TS_ASSIGN_OR_RETURN(const Rendered ours, subject.Render(kPrompts[i], i));
    TS_ASSIGN_OR_RETURN(const Rendered wanted, reference.Render(kPrompts[i], i));
    for (int step = 0; step < options.steps; ++step) {
      error.latents[step] += RelativeL2(ours.latents[step], wanted.latents[step]) / prompts;
    }
    error.worst_latent = std::max(error.worst_latent, RelativeL2(ours.latents.back(), wanted.latents.back()));
    const double square = SquaredDistance(ours.bytes, wanted.bytes) / static_cast<double>(ours.bytes.size());
    mean_square += square / prompts;
    error.worst_psnr = std::min(error.worst_psnr, Psnr(square));
  }
  error.psnr = Psnr(mean_square);
  return error;
}

}  // namespace tiltshift::engine::testing
