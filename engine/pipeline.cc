#include "engine/pipeline.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "engine/device_denoiser.h"
#include "engine/philox.h"
#include "engine/recently_used.h"

namespace tiltshift::engine {
namespace {

constexpr size_t kSizesKept = 2;
// Guidance runs two programs operation by operation, so that weights come from memory once for both, where two
// programs' activations stay in the caches. Larger ones would drive each other out: they run one after the other,
// in the same memory.
constexpr size_t kSideBySideBytes = size_t{16} << 20;

void BlendIn(const Blend& blend, const NoiseMix& mix, std::span<float> latent) {
  for (size_t i = 0; i < latent.size(); ++i) {
    if (blend.mask[i % blend.mask.size()] != 0) continue;
    latent[i] = mix.signal * blend.clean[i] + mix.noise * blend.noise[i];
  }
}

}  // namespace

// Beside the latent, what the forwards of a run are given: a row of times a step.
struct Pipeline::Conditions {
  std::span<const float> rows, negative_rows;
  size_t row_floats = 0;
};

struct Pipeline::Denoiser {
  LatentSize size;
  int tokens = 0;
  UNet::DenoiseGraph graph;
  std::unique_ptr<Program> program;
  std::unique_ptr<Program> unguided_program;  // the same again, to run beside it; or null
  std::vector<float> input, output, unguided, blank, history, noise;

  Program& unguided_side() { return unguided_program != nullptr ? *unguided_program : *program; }
  void Prepare(Program& side, std::span<const float> row, const Prompt& prompt) const {
    side.Write(graph.latent, input);
    side.Write(graph.time, row);
    side.Bind(graph.context, *prompt.context);
  }
  // `input` -> `output`, guidance applied.
  void Predict(const DenoiseOptions& options, const Conditions& conditions, int step);
  // What the unguided side says without the photo.
  void PredictBlank(const DenoiseOptions& options, std::span<const float> row);
};

void Pipeline::Denoiser::Predict(const DenoiseOptions& options, const Conditions& conditions,
                                 int step) {
  const size_t at = step * conditions.row_floats;
  Prepare(*program, conditions.rows.subspan(at, conditions.row_floats), *options.prompt);
  if (options.negative == nullptr) {
    program->Run();
    program->Read(graph.output, output);
    return;
  }
  const auto row = conditions.negative_rows.subspan(at, conditions.row_floats);
  if (unguided_program != nullptr) {
    Prepare(*unguided_program, row, *options.negative);
    program->RunWith(*unguided_program);
    program->Read(graph.output, output);
  } else {
    program->Run();
    program->Read(graph.output, output);
    Prepare(*program, row, *options.negative);
    program->Run();
  }
  unguided_side().Read(graph.output, unguided);
  const float scale = options.guidance_scale, photo_scale = options.image_guidance_scale;
  if (photo_scale == 0) {
    for (size_t i = 0; i < output.size(); ++i) {
      output[i] = unguided[i] + scale * (output[i] - unguided[i]);
    }
    return;
  }
  PredictBlank(options, row);
  for (size_t i = 0; i < output.size(); ++i) {
    output[i] =
        blank[i] + scale * (output[i] - unguided[i]) + photo_scale * (unguided[i] - blank[i]);
  }
}

void Pipeline::Denoiser::PredictBlank(const DenoiseOptions& options, std::span<const float> row) {
  const std::span<float> extra = std::span(input).last(options.extra.size());
  std::fill(extra.begin(), extra.end(), 0.0f);
  Prepare(unguided_side(), row, *options.negative);
  std::copy(options.extra.begin(), options.extra.end(), extra.begin());
  unguided_side().Run();
  blank.resize(output.size());
  unguided_side().Read(graph.output, blank);
}

Pipeline::Pipeline(std::shared_ptr<const Model> model)
    : model_(std::move(model)),
      prompts_(model_->impl()),
      times_(model_->impl()),
      coder_(model_->impl()),
      on_device_(std::make_unique<DeviceDenoiser>(model_->impl())) {}
Pipeline::~Pipeline() = default;

int64_t Pipeline::LatentFloats(LatentSize size) const {
  return int64_t{model().config.vae.latent_channels} * size.height * size.width;
}

int64_t Pipeline::PictureFloats(LatentSize size) const {
  const VaeConfig& vae = model().config.vae;
  return int64_t{vae.out_channels} * vae.scale() * vae.scale() * size.height * size.width;
}

void Pipeline::DropIfThreadsChanged() {
  const int threads = model().backend->threads();
  if (threads == threads_) return;
  threads_ = threads;
  prompts_.DropPrograms();
  times_.DropPrograms();
  denoisers_.clear();
  coder_.DropPrograms();
}

absl::StatusOr<Pipeline::Denoiser*> Pipeline::DenoiserFor(LatentSize size, int tokens) {
  DropIfThreadsChanged();
  auto* known = MoveToFront(denoisers_, [&](const auto& denoiser) {
    return denoiser->size == size && denoiser->tokens == tokens;
  });
  if (known != nullptr) return known->get();
  auto denoiser = std::make_unique<Denoiser>();
  denoiser->size = size;
  denoiser->tokens = tokens;
  denoiser->graph = model().unet->BuildDenoise({size.height, size.width, 0}, tokens);
  const auto compile = [&] { return model().backend->Compile(denoiser->graph.graph, model().compute); };
  TS_ASSIGN_OR_RETURN(denoiser->program, compile());
  if (denoiser->program->memory_bytes() <= kSideBySideBytes) {
    TS_ASSIGN_OR_RETURN(denoiser->unguided_program, compile());
  }
  denoiser->input.resize(denoiser->graph.latent.shape.size());
  denoiser->output.resize(denoiser->graph.output.shape.size());
  denoiser->unguided.resize(denoiser->output.size());
  denoisers_.push_front(std::move(denoiser));
  if (denoisers_.size() > kSizesKept) denoisers_.pop_back();
  return denoisers_.front().get();
}

// SDXL's numbers: the size a photo was trained from, where it was cropped, and the size it came to;
// all as if nothing was resized or cropped. Where the last one is an aesthetic score, diffusers'
// two.
TimeCondition Pipeline::ConditionFor(LatentSize size, const Prompt& prompt, bool negative) const {
  TimeCondition condition{.pooled = prompt.pooled};
  const float height = static_cast<float>(size.height * model().config.vae.scale());
  const float width = static_cast<float>(size.width * model().config.vae.scale());
  if (model().config.size_numbers == 6)
    condition.size_numbers = {height, width, 0, 0, height, width};
  if (model().config.size_numbers == 5)
    condition.size_numbers = {height, width, 0, 0, negative ? 2.5f : 6.0f};
  return condition;
}

absl::StatusOr<Pipeline::Conditions> Pipeline::ConditionsFor(const DenoiseOptions& options) {
  const Sampler& sampler = *options.sampler;
  std::vector<float> timesteps(sampler.steps());
  for (int step = 0; step < sampler.steps(); ++step) timesteps[step] = sampler.timestep(step);
  const auto rows_for = [&](const Prompt& prompt) {
    TimeCondition condition = ConditionFor(options.size, prompt, &prompt == options.negative);
    condition.guidance_scale = options.guidance_scale;
    return times_.Rows(timesteps, condition);
  };
  Conditions conditions;
  conditions.row_floats = model().unet->TimeChannels();
  TS_ASSIGN_OR_RETURN(conditions.rows, rows_for(*options.prompt));
  if (options.negative != nullptr) {
    TS_ASSIGN_OR_RETURN(conditions.negative_rows, rows_for(*options.negative));
  }
  return conditions;
}

absl::Status Stopped(int step, const Sampler& sampler, std::vector<float> history,
                     DenoiseState* state) {
  if (state != nullptr) *state = {step, std::move(history)};
  return absl::CancelledError(
      absl::StrCat("stopped before step ", step, " of ", sampler.steps()));
}

absl::Status Pipeline::Denoise(const DenoiseOptions& options,
                               const std::function<bool()>& keep_going, std::span<float> latent) {
  const Sampler& sampler = *options.sampler;
  TS_CHECK(static_cast<int64_t>(latent.size()) == LatentFloats(options.size));
  TS_CHECK(options.negative == nullptr || options.negative->tokens == options.prompt->tokens);
  DropIfThreadsChanged();
  TS_ASSIGN_OR_RETURN(const Conditions conditions, ConditionsFor(options));
  if (model().backend->DenoisesInBatches()) {
    return on_device_->Denoise(
        options, {conditions.rows, conditions.negative_rows, conditions.row_floats}, keep_going,
        latent);
  }
  TS_ASSIGN_OR_RETURN(Denoiser * unet, DenoiserFor(options.size, options.prompt->tokens));
  TS_CHECK(unet->input.size() == latent.size() + options.extra.size());
  std::copy(options.extra.begin(), options.extra.end(), unet->input.begin() + latent.size());
  unet->history.assign(sampler.history_floats(latent.size()), 0.0f);
  unet->noise.resize(latent.size());
  const DenoiseState begin = options.state != nullptr ? *options.state : DenoiseState{};
  std::copy(begin.history.begin(), begin.history.end(), unet->history.begin());

  for (int step = begin.step; step < sampler.steps(); ++step) {
    if (keep_going && !keep_going()) return Stopped(step, sampler, unet->history, options.state);
    sampler.ScaleInput(step, latent, std::span(unet->input).first(latent.size()));
    unet->Predict(options, conditions, step);
    TS_RETURN_IF_ERROR(model().backend->health());
    if (sampler.NeedsNoise(step)) FillNormal(options.seed, step + 1, unet->noise);
    sampler.Step(step, {unet->output, unet->noise}, {latent, unet->history});
    if (!options.blend.mask.empty()) {
      const bool last = step + 1 == sampler.steps();
      BlendIn(options.blend, last ? NoiseMix{1, 0} : sampler.MixAt(step + 1), latent);
    }
    if (options.after_step) options.after_step(step, latent);
  }
  return absl::OkStatus();
}

absl::Status Pipeline::Forward(const ForwardOptions& options, std::span<const float> input,
                               std::span<float> output) {
  TimeCondition condition = ConditionFor(options.size, *options.prompt, false);
  condition.guidance_scale = options.guidance_scale;
  TS_ASSIGN_OR_RETURN(Denoiser * unet, DenoiserFor(options.size, options.prompt->tokens));
  TS_ASSIGN_OR_RETURN(const std::span<const float> row,
                      times_.Rows({&options.timestep, 1}, condition));
  unet->program->Write(unet->graph.latent, input);
  unet->program->Write(unet->graph.time, row);
  unet->program->Bind(unet->graph.context, *options.prompt->context);
  unet->program->Run();
  unet->program->Read(unet->graph.output, output);
  return model().backend->health();
}

absl::StatusOr<Pipeline::DenoisePrograms> Pipeline::DenoiseProgramsFor(LatentSize size) {
  TS_ASSIGN_OR_RETURN(Denoiser * unet, DenoiserFor(size, model().texts[0].tokenizer.length()));
  return DenoisePrograms{unet->program.get(), unet->unguided_program.get()};
}

}  // namespace tiltshift::engine
