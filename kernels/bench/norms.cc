// The norms at the shapes of SD 1.5 at 512 x 512 with guidance, and of its autoencoder: bound by
// memory, so their yardstick is the copy.
#include <vector>

#include "base/check.h"
#include "kernels/bench/card_timer.h"
#include "kernels/bench/gpu_check.h"
#include "kernels/testing/device_buffer.h"
#include "kernels/testing/norm_case.h"

namespace tiltshift::kernels::bench {
namespace {

using testing::DeviceBuffer;
using testing::NormCase;
using testing::RandomNumbers;

NormCase CaseOf(std::string name, int batch, int positions, int channels, int groups) {
  return {.name = std::move(name),
          .shape = {.batch = batch, .positions = positions, .channels = channels, .groups = groups},
          .silu = groups > 0};  // LayerNorm has none
}

const NormCase kCases[] = {
    CaseOf("group sd15 64", 2, 4096, 320, 32),    CaseOf("group sd15 32", 2, 1024, 640, 32),
    CaseOf("group sd15 16", 2, 256, 1280, 32),    CaseOf("group sd15 64 x16", 16, 4096, 320, 32),
    CaseOf("group vae 512", 1, 1 << 18, 128, 32), CaseOf("layer sd15 64", 2, 4096, 320, 0),
    CaseOf("layer sd15 32", 2, 1024, 640, 0),     CaseOf("layer sd15 64 x16", 16, 4096, 320, 0),
};

double SecondsOfNorm(const NormCase& c) {
  constexpr int kSets = 3;
  const GroupNormShape& s = c.shape;
  const int64_t numbers = int64_t{s.batch} * s.positions * s.channels;
  std::vector<DeviceBuffer<Bf16>> x, y;
  for (int i = 0; i < kSets; ++i) {
    x.emplace_back(RandomNumbers<Bf16>(numbers, i));
    y.emplace_back(numbers);
  }
  const DeviceBuffer<float> scale(RandomNumbers<float>(s.channels, 5));
  if (s.groups == 0) {
    return SecondsOf([&](cudaStream_t stream, int run) {
      const LayerNormArguments<Bf16> arguments = {.rows = int64_t{s.batch} * s.positions,
                                                  .channels = s.channels,
                                                  .x = x[run % kSets].get(),
                                                  .x_stride = s.channels,
                                                  .scale = scale.get(),
                                                  .shift = scale.get(),
                                                  .y = y[run % kSets].get(),
                                                  .y_stride = s.channels};
      TS_CHECK(LayerNorm<Bf16>(stream, arguments) == cudaSuccess);
    });
  }
  const DeviceBuffer<uint32_t> arrivals(std::vector<uint32_t>(s.batch, 0));
  const DeviceBuffer<float> moments(GroupNormMomentFloats(s)),
      affine(int64_t{2} * s.batch * s.channels);
  return SecondsOf([&](cudaStream_t stream, int run) {
    const GroupNormArguments<Bf16> arguments = {.shape = s,
                                                .x = x[run % kSets].get(),
                                                .x_stride = s.channels,
                                                .scale = scale.get(),
                                                .shift = scale.get(),
                                                .silu = true,
                                                .moments = moments.get(),
                                                .arrivals = arrivals.get(),
                                                .affine = affine.get(),
                                                .y = y[run % kSets].get(),
                                                .y_stride = s.channels};
    TS_CHECK(GroupNorm<Bf16>(stream, arguments) == cudaSuccess);
  });
}

}  // namespace

void CheckNorms(Verdicts& verdicts) {
  for (const NormCase& c : {kCases[0], kCases[2], kCases[5]}) {
    verdicts.Compared("norm " + c.name, testing::RunNormCase<Bf16>(c).worst);
    verdicts.Compared("norm " + c.name + " fp16", testing::RunNormCase<Fp16>(c).worst);
  }
  verdicts.Was("norm: a sample alone has the bits it has in a batch",
               testing::SameBitsForEachSample<Bf16>(kCases[2]));
}

void BenchNorms(const Limits& limits) {
  std::printf("\nNorms, bf16: time, TB/s of x read and y written once, share of copy\n");
  for (const NormCase& c : kCases) {
    const double bytes = 4.0 * c.shape.batch * c.shape.positions * c.shape.channels;
    const double seconds = SecondsOfNorm(c);
    std::printf("  %-20s %8.1f us %5.2f %4.0f%%\n", c.name.c_str(), seconds * 1e6,
                bytes / seconds * 1e-12, 100 * bytes / seconds / limits.copy_bytes_per_second);
  }
}

}  // namespace tiltshift::kernels::bench
