#include "engine/pipeline.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "engine/philox.h"
#include "engine/recently_used.h"
#include "engine/shared_denoiser.h"

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
  struct Rows {
    std::span<const float> prompt, negative;
    size_t floats = 0;

    std::span<const float> At(int step, bool is_negative) const {
      return (is_negative ? negative : prompt).subspan(step * floats, floats);
    }
  };
  Rows rows;
  std::vector<Rows> controls;
};

struct Pipeline::Denoiser {
  LatentSize size;
  int tokens = 0;
  std::vector<bool> controlled;
  UNet::DenoiseGraph graph;
  std::unique_ptr<Program> program;
  std::unique_ptr<Program> unguided_program;  // the same again, to run beside it; or null
  std::vector<float> input, output, unguided, blank;

  Program& unguided_side() { return unguided_program != nullptr ? *unguided_program : *program; }
  // One side of guidance.
  struct Side {
    const Prompt* prompt = nullptr;
    const Conditions& conditions;
    std::span<const ControlHint> controls;
    int step = 0;
    bool negative = false;
  };
  void Prepare(Program& program, const Side& side) const;
  // `input` -> `output`, guidance applied.
  void Predict(const DenoiseOptions& options, const Conditions& conditions, int step);
  // What the unguided side says without the photo.
  void PredictBlank(const DenoiseOptions& options, const Side& side);
};

void Pipeline::Denoiser::Prepare(Program& program, const Side& side) const {
  program.Write(graph.latent, input);
  program.Write(graph.time, side.conditions.rows.At(side.step, side.negative));
  program.Bind(graph.context, *side.prompt->context);
  size_t next = 0;
  for (size_t i = 0; i < controlled.size(); ++i) {
    if (!controlled[i]) continue;
    const UNet::DenoiseGraph::Control& control = graph.controls[next++];
    program.Write(control.time, side.conditions.controls[i].At(side.step, side.negative));
    program.Bind(control.context, *side.prompt->control_contexts[i]);
    program.Bind(control.hint, *side.controls[i].hint);
  }
}

void Pipeline::Denoiser::Predict(const DenoiseOptions& options, const Conditions& conditions,
                                 int step) {
  Prepare(*program, {options.prompt, conditions, options.controls, step});
  if (options.negative == nullptr) {
    program->Run();
    program->Read(graph.output, output);
    return;
  }
  const Side negative{options.negative, conditions, options.controls, step, true};
  if (unguided_program != nullptr) {
    Prepare(*unguided_program, negative);
    program->RunWith(*unguided_program);
    program->Read(graph.output, output);
  } else {
    program->Run();
    program->Read(graph.output, output);
    Prepare(*program, negative);
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
  PredictBlank(options, negative);
  for (size_t i = 0; i < output.size(); ++i) {
    output[i] =
        blank[i] + scale * (output[i] - unguided[i]) + photo_scale * (unguided[i] - blank[i]);
  }
}

void Pipeline::Denoiser::PredictBlank(const DenoiseOptions& options, const Side& side) {
  const std::span<float> extra = std::span(input).last(options.extra.size());
  std::fill(extra.begin(), extra.end(), 0.0f);
  Prepare(unguided_side(), side);
  std::copy(options.extra.begin(), options.extra.end(), extra.begin());
  unguided_side().Run();
  blank.resize(output.size());
  unguided_side().Read(graph.output, blank);
}

Pipeline::Pipeline(std::shared_ptr<const Model> model)
    : model_(std::move(model)),
      prompts_(model_->impl()),
      times_(model_->impl(), *model_->impl().unet),
      coder_(model_->impl()) {
  for (const auto& control : model_->impl().controls)
    control_times_.emplace_back(model_->impl(), *control);
  if (model_->impl().denoiser != nullptr) model_->impl().denoiser->AddUser();
}
Pipeline::~Pipeline() {
  if (model().denoiser != nullptr) model().denoiser->RemoveUser();
}

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
  for (TimeEncoder& times : control_times_) times.DropPrograms();
  denoisers_.clear();
  coder_.DropPrograms();
}

absl::StatusOr<Pipeline::Denoiser*> Pipeline::DenoiserFor(LatentSize size, int tokens,
                                                          const std::vector<bool>& controlled) {
  DropIfThreadsChanged();
  auto* known = MoveToFront(denoisers_, [&](const auto& denoiser) {
    return denoiser->size == size && denoiser->tokens == tokens &&
           denoiser->controlled == controlled;
  });
  if (known != nullptr) return known->get();
  auto denoiser = std::make_unique<Denoiser>();
  denoiser->size = size;
  denoiser->tokens = tokens;
  denoiser->controlled = controlled;
  std::vector<const UNet*> controls;
  for (size_t i = 0; i < controlled.size(); ++i) {
    if (controlled[i]) controls.push_back(model().controls[i].get());
  }
  denoiser->graph = model().unet->BuildDenoise({size.height, size.width, 0}, tokens,
                                               UNet::Ends::kPlanar, controls);
  const auto compile = [&] { return model().backend->Compile(denoiser->graph.graph, model().compute); };
  TS_ASSIGN_OR_RETURN(denoiser->program, compile());
  if (denoiser->program->memory_bytes() <= kSideBySideBytes) {
    TS_ASSIGN_OR_RETURN(denoiser->unguided_program, compile());
  }
  denoiser->input.resize(denoiser->graph.latent.shape.size());
  denoiser->output.resize(denoiser->graph.output.shape.size());
  denoiser->unguided.resize(denoiser->output.size());
  denoisers_.push_front(std::move(denoiser));
  // A run with n ControlNets passes at most 2n + 1 sets of those that have a say.
  if (denoisers_.size() > kSizesKept + 2 * model().controls.size()) denoisers_.pop_back();
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
  const auto rows_of = [&](TimeEncoder& times,
                           const UNet& network) -> absl::StatusOr<Conditions::Rows> {
    Conditions::Rows rows{.floats = static_cast<size_t>(network.TimeChannels())};
    for (const bool negative : {false, true}) {  // both sides may have one prompt
      const Prompt* prompt = negative ? options.negative : options.prompt;
      if (prompt == nullptr) continue;
      TimeCondition condition = ConditionFor(options.size, *prompt, negative);
      condition.guidance_scale = options.guidance_scale;
      TS_ASSIGN_OR_RETURN((negative ? rows.negative : rows.prompt),
                          times.Rows(timesteps, condition));
    }
    return rows;
  };
  Conditions conditions;
  TS_ASSIGN_OR_RETURN(conditions.rows, rows_of(times_, *model().unet));
  size_t next = 0;
  for (TimeEncoder& times : control_times_) {
    TS_ASSIGN_OR_RETURN(conditions.controls.emplace_back(),
                        rows_of(times, *model().controls[next++]));
  }
  return conditions;
}

absl::Status Stopped(int step, const Sampler& sampler, std::vector<float> history,
                     DenoiseState* state) {
  if (state != nullptr) *state = {step, std::move(history)};
  return absl::CancelledError(
      absl::StrCat("stopped before step ", step, " of ", sampler.steps()));
}

// Of each step of a run: all are compiled before the first.
absl::StatusOr<std::vector<Pipeline::Denoiser*>> Pipeline::DenoisersFor(
    const DenoiseOptions& options) {
  std::vector<Denoiser*> denoisers;
  for (int step = 0; step < options.sampler->steps(); ++step) {
    std::vector<bool> controlled;
    for (const ControlHint& control : options.controls)
      controlled.push_back(control.first <= step && step < control.end);
    if (!denoisers.empty() && denoisers.back()->controlled == controlled) {
      denoisers.push_back(denoisers.back());
      continue;
    }
    TS_ASSIGN_OR_RETURN(denoisers.emplace_back(),
                        DenoiserFor(options.size, options.prompt->tokens, controlled));
    std::ranges::copy(options.extra, denoisers.back()->input.end() - options.extra.size());
  }
  return denoisers;
}

absl::Status Pipeline::Denoise(const DenoiseOptions& options,
                               const std::function<bool()>& keep_going, std::span<float> latent) {
  const Sampler& sampler = *options.sampler;
  TS_CHECK(static_cast<int64_t>(latent.size()) == LatentFloats(options.size));
  TS_CHECK(options.negative == nullptr || options.negative->tokens == options.prompt->tokens);
  TS_CHECK(options.controls.size() == model().controls.size());
  DropIfThreadsChanged();
  TS_ASSIGN_OR_RETURN(const Conditions conditions, ConditionsFor(options));
  if (model().denoiser != nullptr) {
    const Conditions::Rows& rows = conditions.rows;
    return model().denoiser->Denoise(options, {rows.prompt, rows.negative, rows.floats},
                                     keep_going, latent);
  }
  TS_ASSIGN_OR_RETURN(const std::vector<Denoiser*> denoisers, DenoisersFor(options));
  const DenoiseState begin = options.state != nullptr ? *options.state : DenoiseState{};
  std::vector<float> history(sampler.history_floats(latent.size())), noise(latent.size());
  std::copy(begin.history.begin(), begin.history.end(), history.begin());

  for (int step = begin.step; step < sampler.steps(); ++step) {
    if (keep_going && !keep_going())
      return Stopped(step, sampler, std::move(history), options.state);
    Denoiser* unet = denoisers[step];
    TS_CHECK(unet->input.size() == latent.size() + options.extra.size());
    sampler.ScaleInput(step, latent, std::span(unet->input).first(latent.size()));
    unet->Predict(options, conditions, step);
    TS_RETURN_IF_ERROR(model().backend->health());
    if (sampler.NeedsNoise(step)) FillNormal(options.seed, step + 1, noise);
    sampler.Step(step, {unet->output, noise}, {latent, history});
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
  TS_CHECK(options.controls.size() == model().controls.size());
  TimeCondition condition = ConditionFor(options.size, *options.prompt, false);
  condition.guidance_scale = options.guidance_scale;
  TS_ASSIGN_OR_RETURN(Denoiser * unet,
                      DenoiserFor(options.size, options.prompt->tokens,
                                  std::vector<bool>(options.controls.size(), true)));
  Conditions conditions;
  const auto row_of = [&](TimeEncoder& times) -> absl::StatusOr<Conditions::Rows> {
    TS_ASSIGN_OR_RETURN(const std::span<const float> row,
                        times.Rows({&options.timestep, 1}, condition));
    return Conditions::Rows{.prompt = row, .floats = row.size()};
  };
  TS_ASSIGN_OR_RETURN(conditions.rows, row_of(times_));
  for (TimeEncoder& times : control_times_) {
    TS_ASSIGN_OR_RETURN(conditions.controls.emplace_back(), row_of(times));
  }
  std::ranges::copy(input, unet->input.begin());
  unet->Prepare(*unet->program, {options.prompt, conditions, options.controls});
  unet->program->Run();
  unet->program->Read(unet->graph.output, output);
  return model().backend->health();
}

// Once a render, and cheap beside a step: compiled each time, and nothing of it is kept.
absl::StatusOr<std::unique_ptr<Buffer>> Pipeline::Hint(size_t control, LatentSize size,
                                                       std::span<const float> picture) {
  const UNet::HintGraph hint = model().controls[control]->BuildHint({size.height, size.width, 0});
  TS_ASSIGN_OR_RETURN(const std::unique_ptr<Program> program,
                      model().backend->Compile(hint.graph, model().compute));
  program->Write(hint.picture, picture);
  program->Run();
  TS_RETURN_IF_ERROR(model().backend->health());
  return program->Keep(hint.output);
}

absl::StatusOr<Pipeline::DenoisePrograms> Pipeline::DenoiseProgramsFor(LatentSize size) {
  TS_ASSIGN_OR_RETURN(Denoiser * unet,
                      DenoiserFor(size, model().texts[0].tokenizer.length(),
                                  std::vector<bool>(model().controls.size(), true)));
  return DenoisePrograms{unet->program.get(), unet->unguided_program.get()};
}

}  // namespace tiltshift::engine
