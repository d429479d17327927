#include "engine/shared_denoiser.h"

#include <algorithm>
#include <array>
#include <utility>

namespace tiltshift::engine {
namespace {

constexpr std::array kPlaces = {1, 2, 3, 4, 6, 8};  // of batches: what lies between them rests
constexpr int kMostPlaces = kPlaces.back();
constexpr int kSmallTurns = 2;  // before a batch shrinks: the next sample may be on its way
constexpr size_t kIdleKept = 4;

int PlacesFor(size_t samples) {
  return *std::ranges::find_if(kPlaces,
                               [&](int places) { return static_cast<size_t>(places) >= samples; });
}

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

// A sample's stay in its group, whatever is thrown meanwhile.
class SharedDenoiser::Stay {
 public:
  Stay(SharedDenoiser& denoiser, Sample& sample, std::unique_lock<std::mutex>& lock)
      : denoiser_(denoiser), sample_(sample), lock_(lock) {}
  ~Stay() {
    if (!lock_.owns_lock()) lock_.lock();
    denoiser_.Leave(sample_);
  }
  Stay(const Stay&) = delete;
  Stay& operator=(const Stay&) = delete;

 private:
  SharedDenoiser& denoiser_;
  Sample& sample_;
  std::unique_lock<std::mutex>& lock_;
};

absl::Status SharedDenoiser::Denoise(const DenoiseOptions& options, const TimeRows& times,
                                     const std::function<bool()>& keep_going,
                                     std::span<float> latent) {
  const Sampler& sampler = *options.sampler;
  std::unique_lock lock(mutex_);
  Sample sample = {options, times};
  std::span<const float> history;
  if (options.state != nullptr) {
    sample.step = options.state->step;
    history = options.state->history;
  }
  TS_RETURN_IF_ERROR(Join(sample, latent, history));
  const Stay stay(*this, sample, lock);
  while (sample.step < sampler.steps()) {
    const int step = sample.step;
    lock.unlock();
    const bool goes_on = !keep_going || keep_going();
    lock.lock();
    if (!goes_on) {
      std::vector<float> stopped_history(sampler.history_floats(latent.size()));
      TS_RETURN_IF_ERROR(Read(sample, latent, stopped_history));
      return Stopped(step, sampler, std::move(stopped_history), options.state);
    }
    TS_RETURN_IF_ERROR(AwaitStep(sample, lock));
    if (!options.after_step) continue;
    TS_RETURN_IF_ERROR(Read(sample, latent, {}));
    lock.unlock();
    options.after_step(step, latent);
    lock.lock();
  }
  return Read(sample, latent, {});
}

absl::Status SharedDenoiser::Join(Sample& sample, std::span<const float> latent,
                                  std::span<const float> history) {
  const Kind kind = {sample.options.size, sample.options.prompt->tokens,
                     ForwardsOf(sample.options)};
  auto group = std::ranges::find_if(groups_, [&](const Group& other) {
    return other.compiled.kind == kind && other.samples.size() < kMostPlaces && other.failed.ok() &&
           (other.samples.size() < static_cast<size_t>(other.compiled.places) || MayMove(other));
  });
  if (group == groups_.end()) {
    TS_ASSIGN_OR_RETURN(Compiled compiled, CompiledFor(kind, 1));
    group = groups_.emplace(groups_.end(), Group{.compiled = std::move(compiled)});
  } else if (group->samples.size() == static_cast<size_t>(group->compiled.places)) {
    TS_RETURN_IF_ERROR(MoveTo(*group, PlacesFor(group->samples.size() + 1)));
  }
  sample.group = &*group;
  while (std::ranges::find(group->samples, sample.place, &Sample::place) != group->samples.end()) {
    ++sample.place;
  }
  group->samples.push_back(&sample);
  const absl::Status begun = Begin(*group->compiled.batch, sample.place, sample, {latent, history});
  if (!begun.ok()) Leave(sample);
  return begun;
}

absl::Status SharedDenoiser::Begin(DenoiseBatch& batch, int place, const Sample& sample,
                                   const State& state) {
  std::vector<SampleStep> steps;
  for (int step = sample.step; step < sample.options.sampler->steps(); ++step) {
    steps.push_back(SampleStepOf(*sample.options.sampler, step));
  }
  SampleRun run = RunOf(sample.options, sample.times, sample.step, steps);
  run.latent = state.latent;
  run.history = state.history;
  return batch.Begin(place, run);
}

absl::Status SharedDenoiser::Read(const Sample& sample, std::span<float> latent,
                                  std::span<float> history) {
  return sample.group->compiled.batch->Read(sample.place, latent, history);
}

// A sample that has ended, and whose thread has not read it yet, can't be begun again elsewhere.
bool SharedDenoiser::MayMove(const Group& group) {
  return std::ranges::none_of(group.samples, [](const Sample* sample) {
    return sample->step == sample->options.sampler->steps();
  });
}

absl::Status SharedDenoiser::MoveTo(Group& group, int places) {
  TS_ASSIGN_OR_RETURN(Compiled next, CompiledFor(group.compiled.kind, places));
  int place = 0;
  for (const Sample* sample : group.samples) {
    const LatentSize size = sample->options.size;
    std::vector<float> latent(model_.config.vae.latent_channels * size.height * size.width);
    std::vector<float> history(sample->options.sampler->history_floats(latent.size()));
    TS_RETURN_IF_ERROR(Read(*sample, latent, history));
    TS_RETURN_IF_ERROR(Begin(*next.batch, place++, *sample, {latent, history}));
  }
  place = 0;
  for (Sample* sample : group.samples) sample->place = place++;
  group.small_turns = 0;
  std::swap(group.compiled, next);
  KeepIdle(std::move(next));
  return absl::OkStatus();
}

void SharedDenoiser::Leave(Sample& sample) {
  Group& group = *sample.group;
  std::erase(group.samples, &sample);
  if (!group.samples.empty()) {
    if (group.waiting > 0) StepIfAllWait(group);
    return;
  }
  KeepIdle(std::move(group.compiled));
  groups_.remove_if([&](const Group& other) { return &other == &group; });
}

absl::Status SharedDenoiser::AwaitStep(Sample& sample, std::unique_lock<std::mutex>& lock) {
  Group& group = *sample.group;
  const int step = sample.step;
  ++group.waiting;
  StepIfAllWait(group);
  stepped_.wait(lock, [&] { return sample.step != step || !group.failed.ok(); });
  return group.failed;
}

void SharedDenoiser::StepIfAllWait(Group& group) {
  const size_t samples = group.samples.size();
  if (static_cast<size_t>(group.waiting) < samples || !group.failed.ok()) return;
  group.waiting = 0;
  group.small_turns =
      2 * samples <= static_cast<size_t>(group.compiled.places) ? group.small_turns + 1 : 0;
  if (group.small_turns > kSmallTurns && !MoveTo(group, PlacesFor(samples)).ok()) {
    group.small_turns = 0;  // no room, now; what else is wrong the step says
  }
  group.failed = group.compiled.batch->Step();
  if (group.failed.ok()) {
    for (Sample* sample : group.samples) ++sample->step;
    ++counts_.steps;
    counts_.sample_steps += static_cast<int64_t>(samples);
    counts_.places += group.compiled.places;
  }
  stepped_.notify_all();
}

absl::StatusOr<SharedDenoiser::Compiled> SharedDenoiser::CompiledFor(const Kind& kind, int places) {
  const auto known = std::ranges::find_if(
      idle_, [&](const Compiled& other) { return other.kind == kind && other.places == places; });
  if (known != idle_.end()) {
    Compiled compiled = std::move(*known);
    idle_.erase(known);
    return compiled;
  }
  const UNet::DenoiseGraph graph = model_.unet->BuildDenoise({kind.size.height, kind.size.width, 0},
                                                             kind.tokens, UNet::Ends::kRows);
  const auto compile = [&] {
    return model_.backend->CompileDenoise({.graph = &graph.graph,
                                           .input = graph.latent,
                                           .time = graph.time,
                                           .context = graph.context,
                                           .output = graph.output,
                                           .samples = places,
                                           .forwards = kind.forwards},
                                          model_.compute);
  };
  auto batch = compile();
  if (absl::IsResourceExhausted(batch.status()) && !idle_.empty()) {
    idle_.clear();
    batch = compile();
  }
  if (!batch.ok()) return batch.status();
  return Compiled{kind, places, *std::move(batch)};
}

void SharedDenoiser::KeepIdle(Compiled compiled) {
  idle_.push_front(std::move(compiled));
  if (idle_.size() > kIdleKept) idle_.pop_back();
}

bool SharedDenoiser::DropSpare() {
  std::lock_guard lock(mutex_);
  return std::erase_if(idle_, [](const Compiled& compiled) { return compiled.places > 1; }) > 0;
}

void SharedDenoiser::AddUser() {
  std::lock_guard lock(mutex_);
  ++users_;
}

void SharedDenoiser::RemoveUser() {
  std::lock_guard lock(mutex_);
  if (--users_ == 0) idle_.clear();
}

SharedDenoiser::Counts SharedDenoiser::counts() const {
  std::lock_guard lock(mutex_);
  return counts_;
}

}  // namespace tiltshift::engine
