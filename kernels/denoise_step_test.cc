#include "kernels/denoise_step.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <numbers>
#include <vector>

#include "base/check.h"
#include "kernels/testing/compare.h"
#include "kernels/testing/device_buffer.h"
#include "kernels/testing/kernel_test.h"

namespace tiltshift::kernels {
namespace {

using testing::DeviceBuffer;
using testing::Expected;
using testing::KernelTest;
using testing::RandomNumbers;

// Philox and Box-Muller by the book, with the C library's functions.
double ReferenceNormal(uint64_t seed, uint32_t stream, uint64_t index) {
  std::array<uint32_t, 4> c = {static_cast<uint32_t>(index / 4),
                               static_cast<uint32_t>(index / 4 >> 32), stream, 0};
  uint32_t key[2] = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = 0xD2511F53ull * c[0], p1 = 0xCD9E8D57ull * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ key[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ key[1], static_cast<uint32_t>(p0)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  const int first = index % 4 < 2 ? 0 : 2;
  const double radius = std::sqrt(-2 * std::log((c[first] + 1.0) * 0x1p-32));
  const double angle = 2 * std::numbers::pi * (c[first + 1] * 0x1p-32);
  return radius * (index % 2 == 0 ? std::cos(angle) : std::sin(angle));
}

constexpr int kChannels = 4, kOutputStride = 4, kInputStride = 8;
constexpr float kUntouched = 0.5f;  // what lies behind the input's channels

// A batch with its host side; T is the UNet's input.
template <class T>
struct Batch {
  Batch(std::vector<DenoiseRow> rows, int positions, int unet_rows)
      : rows(std::move(rows)),
        positions(positions),
        output(RandomNumbers<float>(int64_t{unet_rows} * positions * kOutputStride, 1)),
        latent(RandomNumbers<float>(Floats(), 2, 3)),
        history(RandomNumbers<float>(Floats(), 3)),
        clean(RandomNumbers<float>(Floats(), 4)),
        noise(RandomNumbers<float>(Floats(), 5)),
        mask(static_cast<size_t>(Floats()) / kChannels),
        input(int64_t{unet_rows} * positions * kInputStride, FromFloat<T>(kUntouched)) {
    for (size_t i = 0; i < mask.size(); ++i) mask[i] = i % 3 == 0 ? 0.0f : 1.0f;
  }

  int64_t Floats() const { return static_cast<int64_t>(rows.size()) * kChannels * positions; }
  void Run() {
    const DeviceBuffer<DenoiseRow> device_rows(rows);
    const DeviceBuffer<float> device_output(output), device_latent(latent), device_history(history);
    const DeviceBuffer<float> device_clean(clean), device_noise(noise), device_mask(mask);
    const DeviceBuffer<T> device_input(input);
    const DenoiseArguments<T> arguments = {.samples = static_cast<int>(rows.size()),
                                           .channels = kChannels,
                                           .positions = positions,
                                           .rows = device_rows.get(),
                                           .output = device_output.get(),
                                           .output_stride = kOutputStride,
                                           .latent = device_latent.get(),
                                           .history = device_history.get(),
                                           .mask = device_mask.get(),
                                           .blend_clean = device_clean.get(),
                                           .blend_noise = device_noise.get(),
                                           .input = device_input.get(),
                                           .input_stride = kInputStride};
    TS_CHECK(DenoiseStep<T>(nullptr, arguments) == cudaSuccess);
    latent = device_latent.Read();
    history = device_history.Read();
    input = device_input.Read();
  }

  std::vector<DenoiseRow> rows;
  int positions;
  std::vector<float> output, latent, history, clean, noise, mask;
  std::vector<T> input;
};

// What becomes of one number; each bound is a few ulp of the magnitudes that are added.
struct Reference {
  Expected next, x0, input;
};
template <class T>
Reference ReferenceOf(const Batch<T>& batch, int sample, int channel, int position) {
  const DenoiseRow& row = batch.rows[sample];
  const int64_t index = int64_t{channel} * batch.positions + position;
  const int64_t at = int64_t{sample} * kChannels * batch.positions + index;
  const auto output_of = [&](int forward) -> double {
    return batch
        .output[(int64_t{row.unet_row[forward]} * batch.positions + position) * kOutputStride +
                channel];
  };
  double output = output_of(0), output_size = std::fabs(output);
  if (row.forwards == 2) {
    output = output_of(1) + row.guidance_scale * (output_of(0) - output_of(1));
    output_size = 3 * row.guidance_scale;
  } else if (row.forwards == 3) {
    output = output_of(2) + row.guidance_scale * (output_of(0) - output_of(1)) +
             row.picture_guidance_scale * (output_of(1) - output_of(2));
    output_size = 3 * (row.guidance_scale + row.picture_guidance_scale);
  }
  const double latent = batch.latent[at], history = batch.history[at];
  const double x0 = std::clamp<double>(row.x0_of_latent * latent + row.x0_of_output * output,
                                       -row.clip, row.clip);
  const double noise =
      row.next_of_noise != 0 ? ReferenceNormal(row.seed, row.noise_stream, index) : 0;
  double next = row.next_of_latent * latent + row.next_of_output * output + row.next_of_x0 * x0 +
                row.next_of_history * history + row.next_of_noise * noise;
  const double x0_bound =
      8 * 0x1p-24 *
      (std::fabs(row.x0_of_latent * latent) + std::fabs(row.x0_of_output) * output_size + 0x1p-20);
  double next_bound =
      8 * 0x1p-24 *
          (std::fabs(row.next_of_latent * latent) + std::fabs(row.next_of_output) * output_size +
           std::fabs(row.next_of_x0 * x0) + std::fabs(row.next_of_history * history) +
           std::fabs(row.next_of_noise * noise) + 0x1p-20) +
      std::fabs(row.next_of_x0) * x0_bound;
  if (row.blend_signal != 0 && batch.mask[int64_t{sample} * batch.positions + position] == 0) {
    next = row.blend_signal * batch.clean[at] + row.blend_noise * batch.noise[at];
    next_bound = 4 * 0x1p-24;
  }
  const double input = row.input_factor * next;
  return {{next, next_bound},
          {x0, x0_bound},
          {input, next_bound + testing::Rounding<T>() * (std::fabs(input) + next_bound)}};
}

// One, two and three forwards, with and without noise, clipped or not, each with its own UNet rows.
std::vector<DenoiseRow> SomeRows() {
  return {
      {.forwards = 1,
       .unet_row = {3},
       .x0_of_latent = 1.25f,
       .x0_of_output = -0.75f,
       .clip = 1.5f,
       .next_of_latent = 0.1f,
       .next_of_output = 0.2f,
       .next_of_x0 = 0.9f,
       .input_factor = 0.5f},
      {.forwards = 2,
       .unet_row = {0, 5},
       .guidance_scale = 7.5f,
       .x0_of_latent = 1,
       .x0_of_output = -1,
       .next_of_latent = 0.7f,
       .next_of_x0 = 0.4f,
       .next_of_history = -0.2f,
       .blend_signal = 0.8f,
       .blend_noise = 0.6f},
      {},  // rests
      {.forwards = 3,
       .unet_row = {1, 2, 4},
       .guidance_scale = 6,
       .picture_guidance_scale = 1.5f,
       .x0_of_output = 1,
       .next_of_latent = 1,
       .next_of_output = -0.1f,
       .next_of_noise = 0.3f,
       .input_factor = 0.25f,
       .noise_stream = 17,
       .seed = 0x123456789abcdef},
  };
}

class DenoiseStepTest : public KernelTest, public ::testing::WithParamInterface<int> {};

template <class T>
void CheckEveryRow(int positions) {
  Batch<T> batch(SomeRows(), positions, 6);
  const Batch<T> before = batch;
  batch.Run();
  std::vector<Expected> latents, histories;
  std::vector<Expected> inputs(batch.input.size(), {kUntouched, 1e-300});
  for (int sample = 0; sample < 4; ++sample) {
    const DenoiseRow& row = before.rows[sample];
    for (int channel = 0; channel < kChannels; ++channel) {
      for (int position = 0; position < batch.positions; ++position) {
        const size_t at = latents.size();
        if (row.forwards == 0) {
          latents.push_back({before.latent[at], 1e-300});
          histories.push_back({before.history[at], 1e-300});
          continue;
        }
        const Reference reference = ReferenceOf(before, sample, channel, position);
        latents.push_back(reference.next);
        histories.push_back(reference.x0);
        for (int forward = 0; forward < row.forwards; ++forward) {
          const int64_t unet = int64_t{row.unet_row[forward]} * batch.positions + position;
          inputs[unet * kInputStride + channel] = reference.input;
        }
      }
    }
  }
  const auto check = [](const testing::Comparison& comparison) {
    EXPECT_LE(comparison.worst, 1) << comparison.Describe();
    EXPECT_GT(comparison.worst, 0.03) << "the bound is too loose to say anything";
  };
  check(testing::Compare(batch.latent, latents));
  check(testing::Compare(batch.history, histories));
  check(testing::Compare(batch.input, inputs));
}

TEST_P(DenoiseStepTest, EveryRowGoesByItsOwnRule) {
  CheckEveryRow<Bf16>(GetParam());
  CheckEveryRow<Fp16>(GetParam());
}
INSTANTIATE_TEST_SUITE_P(Positions, DenoiseStepTest, ::testing::Values(1, 77, 256, 1024, 4096));

using DenoiseBits = KernelTest;

TEST_F(DenoiseBits, I4_ARowHasTheSameBitsInAnyBatch) {
  Batch<Bf16> batch(SomeRows(), 100, 6);
  const Batch<Bf16> before = batch;
  batch.Run();
  const int64_t floats = kChannels * 100;
  for (const int sample : {0, 1, 3}) {
    Batch<Bf16> alone({before.rows[sample]}, 100, 6);
    alone.latent.assign(before.latent.begin() + sample * floats,
                        before.latent.begin() + (sample + 1) * floats);
    alone.history.assign(before.history.begin() + sample * floats,
                         before.history.begin() + (sample + 1) * floats);
    alone.clean.assign(before.clean.begin() + sample * floats,
                       before.clean.begin() + (sample + 1) * floats);
    alone.noise.assign(before.noise.begin() + sample * floats,
                       before.noise.begin() + (sample + 1) * floats);
    alone.mask.assign(before.mask.begin() + sample * 100, before.mask.begin() + (sample + 1) * 100);
    alone.Run();
    EXPECT_EQ(std::memcmp(alone.latent.data(), &batch.latent[sample * floats], floats * 4), 0);
    EXPECT_EQ(std::memcmp(alone.history.data(), &batch.history[sample * floats], floats * 4), 0);
  }
}

}  // namespace
}  // namespace tiltshift::kernels
