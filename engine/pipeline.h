// One slot's way from text and noise to a picture, stage by stage: what Renderer runs in a row, and
// tests and benches one at a time.
//
// Owns the compiled programs of the sizes it last rendered, and the last prompts' embeddings. Used
// by one thread; on a card the pipelines of one model denoise together (shared_denoiser.h). A change of that thread's OpenMP threads compiles the programs anew; the bits stay
// (I4).
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model_impl.h"
#include "engine/picture_coder.h"
#include "engine/prompt_encoder.h"
#include "engine/samplers.h"
#include "engine/time_encoder.h"

namespace tiltshift::engine {

// Keeps what a mask does not want changed: where it is 0, the latent after each step is the clean
// one with the noise that the sampler expects there.
struct Blend {
  std::span<const float> clean, noise;  // like the latent
  std::span<const float> mask;          // [height, width], 0 or 1; empty: no blend
};

// Where a run stands between two steps: with its latent, all that it needs to go on to the same bits.
struct DenoiseState {
  int step = 0;                // that comes
  std::vector<float> history;  // the sampler's; empty where no step was made
};

// What a ControlNet is given in a run: its picture as its hint graph leaves it, and the steps
// [first, end) in which it has a say.
struct ControlHint {
  const Buffer* hint = nullptr;
  int first = 0, end = 0;
};

// A run of the sampler.
struct DenoiseOptions {
  LatentSize size;
  const Sampler* sampler = nullptr;
  const Prompt* prompt = nullptr;
  const Prompt* negative = nullptr;  // of as many tokens; null: one forward a step
  float guidance_scale = 1;
  uint64_t seed = 0;             // of the fresh noise that some samplers add
  std::span<const float> extra;  // planar, the UNet's input channels behind the latent's
  // With `extra` and `negative`: how much the photo in it counts; a third forward a step, that sees
  // neither prompt nor photo (Brooks et al. 2023, eq. 3). 0: `extra` is there in every forward.
  float image_guidance_scale = 0;
  Blend blend;
  std::span<const ControlHint> controls;  // of each of the model's
  std::function<void(int step, std::span<const float> latent)> after_step;  // where set
  // Where set: where the run begins, and where it stood when it was stopped.
  DenoiseState* state = nullptr;
};

// Cancelled; notes where, if anybody asks.
absl::Status Stopped(int step, const Sampler& sampler, std::vector<float> history,
                     DenoiseState* state);

// One forward of the UNet.
struct ForwardOptions {
  LatentSize size;
  float timestep = 0;
  const Prompt* prompt = nullptr;
  float guidance_scale = 1;  // for a model that takes it as a number
  std::span<const ControlHint> controls;  // of each of the model's, with a say
};

class Pipeline {
 public:
  explicit Pipeline(std::shared_ptr<const Model> model);
  ~Pipeline();

  // Valid until a few other prompts were encoded: encode both of a render, then use them.
  absl::StatusOr<PromptPair> Encode(const PromptRequest& request) {
    DropIfThreadsChanged();
    return prompts_.Encode(request);
  }
  absl::StatusOr<const Prompt*> Encode(std::string_view text) {
    DropIfThreadsChanged();
    return prompts_.Encode(text);
  }

  // `latent`, planar [channels, height, width], comes in as the sampler takes it at its first step
  // and goes out denoised. Between its first step and its last nothing is allocated.
  absl::Status Denoise(const DenoiseOptions& options, const std::function<bool()>& keep_going,
                       std::span<float> latent);

  // The UNet's output for `input`, planar [in_channels, height, width].
  absl::Status Forward(const ForwardOptions& options, std::span<const float> input,
                       std::span<float> output);

  // What the model's ControlNet `control` makes of its picture, planar [3, height, width] in -1..1.
  absl::StatusOr<std::unique_ptr<Buffer>> Hint(size_t control, LatentSize size,
                                               std::span<const float> picture);

  // Between latents and pictures. Valid for this thread's next call.
  PictureCoder& coder() {
    DropIfThreadsChanged();
    return coder_;
  }

  const Model::Impl& model() const { return model_->impl(); }
  int64_t LatentFloats(LatentSize size) const;
  int64_t PictureFloats(LatentSize size) const;

  // Programs for benches and profiles, after a Denoise of that size and of prompts of one chunk has
  // bound them.
  struct DenoisePrograms {
    Program* guided;
    Program* unguided;  // null where guidance runs the one program twice
  };
  absl::StatusOr<DenoisePrograms> DenoiseProgramsFor(LatentSize size);

 private:
  struct Denoiser;
  struct Conditions;
  // `controlled`: which ControlNets have a say.
  absl::StatusOr<Denoiser*> DenoiserFor(LatentSize size, int tokens,
                                        const std::vector<bool>& controlled);
  absl::StatusOr<std::vector<Denoiser*>> DenoisersFor(const DenoiseOptions& options);
  absl::StatusOr<Conditions> ConditionsFor(const DenoiseOptions& options);
  TimeCondition ConditionFor(LatentSize size, const Prompt& prompt, bool negative) const;
  void DropIfThreadsChanged();

  std::shared_ptr<const Model> model_;
  int threads_ = 0;
  PromptEncoder prompts_;
  TimeEncoder times_;
  std::list<TimeEncoder> control_times_;  // of each ControlNet
  PictureCoder coder_;
  std::list<std::unique_ptr<Denoiser>> denoisers_;  // most recently used first
};

}  // namespace tiltshift::engine
