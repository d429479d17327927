// Pipeline's way through the steps where the backend keeps the samples (denoise_batch.h): one batch
// for the samples of all a model's renderers that have one shape. They advance together, a step a
// turn; each joins when it comes and leaves when it has ended, between two steps, and keeps its own
// prompt, timestep, guidance, sampler and seed. I4: the bits are those of a sample alone.
//
// A turn begins when the threads of all its samples have come to it; the last to come starts it.
// The batch grows and shrinks with the samples: they are read out and begun again in another of as
// many places, at the step where they are.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "engine/pipeline.h"

namespace tiltshift::engine {

// A row of times for each step of a whole run, beside the prompt and beside the negative one.
struct TimeRows {
  std::span<const float> rows, negative_rows;
  size_t row_floats = 0;
};

// A model's; for its renderers' threads.
class SharedDenoiser {
 public:
  // `model` must outlive it.
  explicit SharedDenoiser(const Model::Impl& model) : model_(model) {}

  // As Pipeline::Denoise; `latent` is written when the run has ended or was stopped, and for
  // after_step. `keep_going` and after_step are called by this thread.
  absl::Status Denoise(const DenoiseOptions& options, const TimeRows& times,
                       const std::function<bool()>& keep_going, std::span<float> latent);

  // Gives back the device's memory of batches that no sample is in, those of one place aside: other
  // renderers have rendered with them and may do so again. Whether there was any.
  bool DropSpare();
  // Pipelines say when they come and go: with the last of them goes what is idle.
  void AddUser();
  void RemoveUser();

  // So far: steps that the device was given, steps of a sample that those were, and places that
  // they had.
  struct Counts {
    int64_t steps = 0, sample_steps = 0, places = 0;
  };
  Counts counts() const;

 private:
  struct Kind {
    LatentSize size;
    int tokens = 0, forwards = 1;
    bool operator==(const Kind&) const = default;
  };
  struct Compiled {
    Kind kind;
    int places = 1;
    std::unique_ptr<DenoiseBatch> batch;
  };
  struct Group;
  // One run, on its thread's stack.
  struct Sample {
    const DenoiseOptions& options;
    const TimeRows& times;
    int step = 0;  // that comes
    Group* group = nullptr;
    int place = 0;
  };
  // Samples that advance together.
  struct Group {
    Compiled compiled;
    std::vector<Sample*> samples;
    int waiting = 0;      // of them, for the next step
    int small_turns = 0;  // turns in a row with at least half the places empty
    absl::Status failed;  // the device's word: the step is lost for all
  };
  struct State {
    std::span<const float> latent, history;
  };
  class Stay;

  absl::Status Join(Sample& sample, std::span<const float> latent, std::span<const float> history);
  void Leave(Sample& sample);
  absl::Status AwaitStep(Sample& sample, std::unique_lock<std::mutex>& lock);
  void StepIfAllWait(Group& group);
  // What is done to a batch.
  static absl::Status Begin(DenoiseBatch& batch, int place, const Sample& sample,
                            const State& state);
  static absl::Status Read(const Sample& sample, std::span<float> latent, std::span<float> history);
  static bool MayMove(const Group& group);
  // The samples go on in a batch of so many places. Where that fails they stay where they are.
  absl::Status MoveTo(Group& group, int places);
  absl::StatusOr<Compiled> CompiledFor(const Kind& kind, int places);
  void KeepIdle(Compiled compiled);

  const Model::Impl& model_;
  mutable std::mutex mutex_;  // of all below, and of calls of batches
  std::condition_variable stepped_;
  std::list<Group> groups_;   // each with a sample at least
  std::list<Compiled> idle_;  // most recently used first
  int users_ = 0;
  Counts counts_;
};

}  // namespace tiltshift::engine
