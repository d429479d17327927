// See denoise_step.h for the formula.
//
// A thread takes a position of a sample with all its channels: latents and history are planar, so
// neighbouring threads share sectors there; outputs and inputs are rows of a few channels. Least
// bytes a number: latent and history 16, output 4 to 12, input 2 to 6; a step of eight samples of
// 64 x 64 moves 5 MB, less than a launch takes. Noise is made by the number, not by the block of
// four, which is right for any size and costs less than it would to share. fp32, errors of a few
// ulp of the terms. 256 threads, 52 registers (sm_90), no shared memory. Time: unmeasured.
#include "kernels/denoise_step.h"
#include "kernels/launch.h"
#include "kernels/philox.cuh"

namespace tiltshift::kernels {
namespace {

constexpr int kThreads = 256;

__device__ __forceinline__ DenoiseRow LoadRow(const DenoiseRow* rows, int sample) {
  static_assert(sizeof(DenoiseRow) % sizeof(Words4) == 0);
  constexpr int kParts = sizeof(DenoiseRow) / sizeof(Words4);
  const GlobalPtr<const Words4> from =
      GlobalPtr(reinterpret_cast<const Words4*>(rows)) + int64_t{sample} * kParts;
  Words4 words[kParts];
#pragma unroll
  for (int i = 0; i < kParts; ++i) words[i] = Load(from + i);
  DenoiseRow row;
  memcpy(&row, words, sizeof row);
  return row;
}

template <class T>
__global__ void __launch_bounds__(kThreads) DenoiseKernel(DenoiseArguments<T> p) {
  const int position = BlockIndex().x * kThreads + ThreadIndex().x, sample = BlockIndex().y;
  if (position >= p.positions) return;
  const DenoiseRow row = LoadRow(p.rows, sample);
  if (row.forwards == 0) return;
  const auto unet_position = [&](int forward) {
    return int64_t{row.unet_row[forward]} * p.positions + position;
  };
  bool kept = false;
  if (row.blend_signal != 0 || row.blend_noise != 0) {
    kept = Load(GlobalPtr(p.mask) + (int64_t{sample} * p.positions + position)) == 0;
  }
  for (int channel = 0; channel < p.channels; ++channel) {
    const auto output_of = [&](int forward) {
      return Load(GlobalPtr(p.output) + (unet_position(forward) * p.output_stride + channel));
    };
    float output = output_of(0);
    if (row.forwards == 2) {
      const float free = output_of(1);
      output = free + row.guidance_scale * (output - free);
    } else if (row.forwards == 3) {
      const float picture = output_of(1), free = output_of(2);
      output = free + row.guidance_scale * (output - picture) +
               row.picture_guidance_scale * (picture - free);
    }
    const int64_t index = int64_t{channel} * p.positions + position;
    const int64_t at = int64_t{sample} * p.channels * p.positions + index;
    const float latent = Load(GlobalPtr(p.latent) + at);
    const float x0 =
        fminf(fmaxf(row.x0_of_latent * latent + row.x0_of_output * output, -row.clip), row.clip);
    float next = row.next_of_latent * latent + row.next_of_output * output + row.next_of_x0 * x0;
    if (p.history != nullptr) {
      if (row.next_of_history != 0) next += row.next_of_history * Load(GlobalPtr(p.history) + at);
      Store(GlobalPtr(p.history) + at, x0);
    }
    if (row.next_of_noise != 0) {
      next += row.next_of_noise * Normal(row.seed, row.noise_stream, index);
    }
    if (kept) {
      next = row.blend_signal * Load(GlobalPtr(p.blend_clean) + at) +
             row.blend_noise * Load(GlobalPtr(p.blend_noise) + at);
    }
    Store(GlobalPtr(p.latent) + at, next);
    if (p.input == nullptr) continue;
    const T input = FromFloat<T>(row.input_factor * next);
#pragma unroll
    for (int forward = 0; forward < 3; ++forward) {
      if (forward < row.forwards) {
        const int64_t input_row = unet_position(forward);
        Store(GlobalPtr(p.input) + (input_row * p.input_stride + channel), input);
      }
    }
  }
}

}  // namespace

template <class T>
cudaError_t DenoiseStep(cudaStream_t stream, const DenoiseArguments<T>& p) {
  constexpr int kMostGrid = 65535;
  if (p.samples <= 0 || p.samples > kMostGrid || p.channels <= 0 || p.positions <= 0 ||
      reinterpret_cast<uintptr_t>(p.rows) % alignof(DenoiseRow) != 0) {
    return cudaErrorInvalidValue;
  }
  const LaunchShape shape = {
      .grid = {static_cast<unsigned>((p.positions + kThreads - 1) / kThreads),
               static_cast<unsigned>(p.samples)},
      .block = {kThreads}};
  return Launch<&DenoiseKernel<T>>(stream, shape, p);
}

template cudaError_t DenoiseStep(cudaStream_t, const DenoiseArguments<Bf16>&);
#ifndef TILTSHIFT_BF16_ONLY
template cudaError_t DenoiseStep(cudaStream_t, const DenoiseArguments<Fp16>&);
#endif

}  // namespace tiltshift::kernels
