// One step of a batch of samples, each at its own place in its own run: guidance, the sampler's
// update, fresh noise, and the UNet's next input, in one pass.
//
//   output = forwards 1: text
//            forwards 2: free + guidance_scale (text - free)      Ho and Salimans 2022
//            forwards 3: free + guidance_scale (text - picture) + picture_guidance_scale (picture -
//                        free)      InstructPix2Pix: Brooks et al. 2023
//   x0     = clamp(x0_of_latent latent + x0_of_output output, -clip, clip)
//   next   = next_of_latent latent + next_of_output output + next_of_x0 x0 + next_of_history
//   history
//            + next_of_noise normal(seed, noise_stream)
//   latent = next, or where a mask is 0: blend_signal clean + blend_noise noise
//   history = x0, input = T(input_factor latent)
//
// Every sampler of the engine is such a rule; the host works out a step's numbers for each row, in
// double. The noise has the bits of engine/philox.h.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/numbers.h"
#include "kernels/runtime.h"

namespace tiltshift::kernels {

// What a sample's step is made of.
struct alignas(16) DenoiseRow {
  int32_t forwards = 0;  // 1 to 3; 0: the slot rests, nothing of it is touched
  // The UNet's batch rows of its forwards: with text; 2: and without (free); 3: with text and
  // picture, with the picture alone, with neither.
  int32_t unet_row[3] = {};
  float guidance_scale = 1, picture_guidance_scale = 1;
  float x0_of_latent = 0, x0_of_output = 0, clip = INFINITY;
  float next_of_latent = 0, next_of_output = 0, next_of_x0 = 0;
  float next_of_history = 0;
  float next_of_noise = 0;
  float input_factor = 1;     // of the step that comes
  uint32_t noise_stream = 0;  // the step's number + 1
  // What the mask keeps has the sampler's mix for the step that comes; 0 and 0: no mask.
  float blend_signal = 0, blend_noise = 0;
  uint64_t seed = 0;
};

template <class T>  // Bf16 or Fp16
struct DenoiseArguments {
  int samples = 0;
  int channels = 0;                  // of a latent
  int positions = 0;                 // height x width
  const DenoiseRow* rows = nullptr;  // [samples], on the card
  const float* output = nullptr;     // [UNet rows, positions] rows of channels: the UNet's
  int64_t output_stride = 0;
  float* latent = nullptr;   // [samples, channels, positions]
  float* history = nullptr;  // the same; null where no row's rule has one
  // Read where a row blends: 0 or 1 for [samples, positions], and the rest like the latent.
  const float* mask = nullptr;
  const float* blend_clean = nullptr;
  const float* blend_noise = nullptr;
  // [UNet rows, positions] rows whose first channels are written, in all the rows of a sample's
  // forwards; null at the last step.
  T* input = nullptr;
  int64_t input_stride = 0;
};

template <class T>
cudaError_t DenoiseStep(cudaStream_t stream, const DenoiseArguments<T>& arguments);

}  // namespace tiltshift::kernels
