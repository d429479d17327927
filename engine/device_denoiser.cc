#include "engine/device_denoiser.h"

#include "engine/recently_used.h"

namespace tiltshift::engine {
namespace {

constexpr size_t kKindsKept = 2;

int ForwardsOf(const DenoiseOptions& options) {
  if (options.negative == nullptr) return 1;
  return options.image_guidance_scale == 0 ? 2 : 3;
}

// `steps` must outlive it.
SampleRun RunOf(const DenoiseOptions& options, const TimeRows& times, int first,
                const std::vector<SampleStep>& steps) {
  SampleRun run = {.steps = steps,
                   .input_factor = static_cast<float>(options.sampler->InputFactor(first)),
                   .extra = options.extra,
                   .forward_count = ForwardsOf(options),
                   .guidance_scale = options.guidance_scale,
                   .picture_guidance_scale = options.image_guidance_scale,
                   .seed = options.seed,
                   .mask = options.blend.mask,
                   .clean = options.blend.clean,
                   .noise = options.blend.noise};
  const size_t made = first * times.row_floats;
  run.forwards[0] = {options.prompt->context.get(), times.rows.subspan(made)};
  if (options.negative == nullptr) return run;
  run.forwards[1] = {options.negative->context.get(), times.negative_rows.subspan(made)};
  run.forwards[2] = run.forwards[1];
  run.forwards[2].blank = true;
  return run;
}

}  // namespace

absl::StatusOr<DenoiseBatch*> DeviceDenoiser::BatchFor(const Kind& kind) {
  auto* known = MoveToFront(batches_, [&](const Compiled& other) { return other.kind == kind; });
  if (known != nullptr) return known->batch.get();
  const UNet::DenoiseGraph graph = model_.unet->BuildDenoise({kind.size.height, kind.size.width, 0},
                                                             kind.tokens, UNet::Ends::kRows);
  const DenoiseBatchShape shape = {.graph = &graph.graph,
                                   .input = graph.latent,
                                   .time = graph.time,
                                   .context = graph.context,
                                   .output = graph.output,
                                   .forwards = kind.forwards};
  // Another kind's memory may be what this one lacks.
  if (batches_.size() == kKindsKept) batches_.pop_back();
  TS_ASSIGN_OR_RETURN(auto batch, model_.backend->CompileDenoise(shape, model_.compute));
  batches_.push_front({kind, std::move(batch)});
  return batches_.front().batch.get();
}

absl::Status DeviceDenoiser::Denoise(const DenoiseOptions& options, const TimeRows& times,
                                     const std::function<bool()>& keep_going,
                                     std::span<float> latent) {
  constexpr int kPlace = 0;
  const Sampler& sampler = *options.sampler;
  TS_ASSIGN_OR_RETURN(DenoiseBatch * batch,
                      BatchFor({options.size, options.prompt->tokens, ForwardsOf(options)}));
  const int first = options.state != nullptr ? options.state->step : 0;
  std::vector<SampleStep> steps;
  for (int step = first; step < sampler.steps(); ++step) {
    steps.push_back(SampleStepOf(sampler, step));
  }
  SampleRun run = RunOf(options, times, first, steps);
  run.latent = latent;
  if (options.state != nullptr) run.history = options.state->history;
  TS_RETURN_IF_ERROR(batch->Begin(kPlace, run));

  for (int step = first; step < sampler.steps(); ++step) {
    if (keep_going && !keep_going()) {
      std::vector<float> history(sampler.history_floats(latent.size()));
      TS_RETURN_IF_ERROR(batch->Read(kPlace, latent, history));
      return Stopped(step, sampler, std::move(history), options.state);
    }
    TS_RETURN_IF_ERROR(batch->Step());
    if (!options.after_step) continue;
    TS_RETURN_IF_ERROR(batch->Read(kPlace, latent, {}));
    options.after_step(step, latent);
  }
  return batch->Read(kPlace, latent, {});
}

}  // namespace tiltshift::engine
