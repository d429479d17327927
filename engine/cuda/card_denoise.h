// Denoising on the card: the UNet's forwards of all samples as one batch, then the kernel of the
// denoise step, as one CUDA graph. What a run needs is uploaded when it begins; a step copies its
// own numbers within the card and starts the graph, so nothing crosses the bus between a run's
// first step and its last.
#pragma once

#include <memory>
#include <vector>

#include "engine/cuda/card_forward.h"
#include "engine/denoise_batch.h"
#include "kernels/denoise_step.h"

namespace tiltshift::engine::cuda {

class CardDenoise : public DenoiseBatch {
 public:
  // `card` and `weights` must outlive it. Errors are CardForward::New's.
  static absl::StatusOr<std::unique_ptr<CardDenoise>> New(const DenoiseBatchShape& shape,
                                                          Card& card, CardWeights& weights);
  ~CardDenoise() override;

  absl::Status Begin(int place, const SampleRun& run) override;
  absl::Status Step() override;
  absl::Status Read(int place, std::span<float> latent, std::span<float> history) override;

 private:
  // A sample's run: a row of the kernel's for each step, then the times of each step's forwards.
  struct Place {
    DeviceBytes steps;
    size_t steps_bytes = 0;
    int count = 0, next = 0, forwards = 1;
    bool rests = true;
  };
  // One of the planes on the card, [samples, channels or 1, positions].
  enum Plane { kLatent, kHistory, kClean, kNoise, kMask, kPlanes };

  CardDenoise(const DenoiseBatchShape& shape, Card& card);
  absl::Status Allocate(CardWeights& weights);
  CardForward::Launchable KernelLaunch(const CardForward& forward, Half half) const;
  float* PlaneOf(Plane plane, int place) const;
  size_t PlaneFloats(Plane plane) const;
  size_t StepsBytes(int count) const { return TimesAt(count) + count * forwards_ * time_bytes_; }
  size_t TimesAt(int count) const { return count * sizeof(kernels::DenoiseRow); }
  int UNetRow(int place, int forward) const { return place * forwards_ + forward; }

  absl::Status Noted(const absl::Status& status);
  absl::Status BeginOnCard(int place, const SampleRun& run);
  absl::Status MakeRoom(Place& at, int count);
  absl::Status UploadSteps(int place, const SampleRun& run);
  absl::Status UploadPlanes(int place, const SampleRun& run);
  absl::Status UploadInputs(int place, const SampleRun& run);
  absl::Status Upload(const void* from, size_t bytes, void* to);
  absl::Status StepOnCard();
  absl::Status PrepareStep(int place);

  const Graph graph_;
  const Value input_, time_, context_, output_;
  const int samples_, forwards_, channels_, positions_;
  const size_t time_bytes_;
  Card& card_;
  Half half_ = Half::kBf16;
  std::unique_ptr<CardForward> forward_;
  DeviceBytes planes_[kPlanes], rows_, input_planes_;
  PinnedBytes staging_;
  size_t staging_bytes_ = 0, staged_ = 0;
  PinnedBytes read_;
  std::vector<Place> places_;
  static constexpr int kInFlight = 2;
  cudaEvent_t made_[kInFlight] = {};  // steps
  cudaEvent_t uploaded_ = nullptr;    // the last that Begin staged
  uint64_t started_ = 0;
};

}  // namespace tiltshift::engine::cuda
