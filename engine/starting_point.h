// What a run of the sampler starts from, for each mode: noise alone, or a photo and a mask as well.
#pragma once

#include <memory>
#include <vector>

#include "engine/pipeline.h"
#include "engine/renderer.h"

namespace tiltshift::engine {

// The noise of a render beside the initial latent's (stream 0) and the steps' (1 and on; there are
// far fewer): what the encoder's latents are sampled by.
inline constexpr uint32_t kPhotoStream = 0x80000000;
inline constexpr uint32_t kMaskedPhotoStream = 0x80000001;

struct StartingPoint {
  std::vector<float> latent;  // as Denoise takes it
  std::vector<float> extra;   // the UNet's further input channels
  // Inpainting without such channels.
  std::vector<float> clean, noise, mask;
};

// InvalidArgument: a mode that the model was not made for, a photo or mask that is missing,
// superfluous, of impossible size or not of one another's, a guidance out of bounds. All of that is
// found before anything is computed.
// `controls`: how many ControlNets the model has.
absl::Status CheckMode(const RenderRequest& request, const ModelConfig& config, size_t controls);

// After CheckMode.
absl::StatusOr<StartingPoint> FindStart(const RenderRequest& request, const Sampler& sampler,
                                        Pipeline& pipeline);

// A ControlNet's picture, and the steps in which it has a say.
struct Hint {
  std::unique_ptr<Buffer> buffer;
  int first = 0, end = 0;
};
// InvalidArgument: a part of the steps that holds none.
absl::StatusOr<std::vector<Hint>> FindHints(const RenderRequest& request, int steps,
                                            Pipeline& pipeline);

}  // namespace tiltshift::engine
