// Attention at the shapes of SD 1.5 at 512 x 512 and SDXL at 1024 x 1024: one sample with guidance
// (batch 2), and eight (batch 16).
#include <vector>

#include "base/check.h"
#include "kernels/bench/card_timer.h"
#include "kernels/bench/gpu_check.h"
#include "kernels/testing/attention_case.h"
#include "kernels/testing/device_buffer.h"

namespace tiltshift::kernels::bench {
namespace {

using testing::AttentionCase;
using testing::DeviceBuffer;
using testing::RandomNumbers;

struct Layer {
  const char* name;
  int heads, queries, head_dim;
};
const Layer kLayers[] = {
    {"sd15 64", 8, 4096, 40},  {"sd15 32", 8, 1024, 80},  {"sd15 16", 8, 256, 160},
    {"sdxl 64", 10, 4096, 64}, {"sdxl 32", 20, 1024, 64},
};
const Layer kAutoencoder = {"vae 64", 1, 4096, 512};
constexpr int kTextKeys = 77;

AttentionCase CaseOf(const Layer& layer, int batch, bool text) {
  return {
      .name = std::string(layer.name) + (text ? " text" : " self") + " x" + std::to_string(batch),
      .shape = {.batch = batch,
                .heads = layer.heads,
                .head_dim = layer.head_dim,
                .queries = layer.queries,
                .keys = text ? kTextKeys : layer.queries},
      .packed = !text};
}

// Several sets of buffers, so that what a run reads is not what the run before left in the cache.
double SecondsOfAttention(const AttentionShape& s) {
  constexpr int kSets = 3;
  const int64_t width = int64_t{s.heads} * s.head_dim;
  std::vector<DeviceBuffer<Bf16>> q, k, v, y;
  for (int i = 0; i < kSets; ++i) {
    q.emplace_back(RandomNumbers<Bf16>(s.batch * s.queries * width, 10 + i, 2));
    k.emplace_back(RandomNumbers<Bf16>(s.batch * s.keys * width, 20 + i, 2));
    v.emplace_back(RandomNumbers<Bf16>(s.batch * s.keys * width, 30 + i));
    y.emplace_back(s.batch * s.queries * width);
  }
  return SecondsOf([&](cudaStream_t stream, int run) {
    const int i = run % kSets;
    const AttentionArguments<Bf16> arguments = {.shape = s,
                                                .q = q[i].get(),
                                                .q_stride = width,
                                                .k = k[i].get(),
                                                .k_stride = width,
                                                .v = v[i].get(),
                                                .v_stride = width,
                                                .y = y[i].get(),
                                                .y_stride = width,
                                                .scale = 0.125f};
    TS_CHECK(Attention<Bf16>(stream, arguments) == cudaSuccess);
  });
}

void Report(const AttentionCase& c, const Limits& limits) {
  const AttentionShape& s = c.shape;
  const double pairs = static_cast<double>(s.batch) * s.heads * s.queries * s.keys;
  const double flops = 4 * pairs * s.head_dim;
  const double bytes = 4.0 * s.batch * s.heads * s.head_dim * (s.queries + s.keys);
  const double seconds = SecondsOfAttention(s);
  std::printf("  %-20s %8.1f us %6.0f", c.name.c_str(), seconds * 1e6, flops / seconds * 1e-12);
  if (limits.gemm_flops_per_second > 0) {
    std::printf(" %4.0f%%", 100 * flops / seconds / limits.gemm_flops_per_second);
  }
  std::printf(" | %5.2f TB/s %4.0f%%\n", bytes / seconds * 1e-12,
              100 * bytes / seconds / limits.copy_bytes_per_second);
}

}  // namespace

void CheckAttention(Verdicts& verdicts) {
  constexpr int kRows = 9;
  for (const Layer& layer : kLayers) {
    for (const bool text : {false, true}) {
      const AttentionCase c = CaseOf(layer, 2, text);
      verdicts.Compared("attention " + c.name, testing::RunAttentionCase<Bf16>(c, kRows).worst);
      verdicts.Compared("attention " + c.name + " fp16",
                        testing::RunAttentionCase<Fp16>(c, kRows).worst);
    }
  }
  const AttentionCase autoencoder = CaseOf(kAutoencoder, 1, false);
  verdicts.Compared("attention vae", testing::RunAttentionCase<Bf16>(autoencoder, kRows).worst);
  AttentionCase sharp = CaseOf({"sharp", 4, 300, 64}, 4, false);
  sharp.sharpness = 8;
  verdicts.Compared("attention sharp", testing::RunAttentionCase<Bf16>(sharp, kRows).worst);
  verdicts.Was("attention: a sample alone has the bits it has in a batch",
               testing::SameBitsForEachSample<Bf16>(sharp));
}

void BenchAttention(const Limits& limits) {
  std::printf(
      "\nAttention, bf16: time, TFLOP/s, share of the GEMM limit | least bytes, share of copy\n");
  Report(CaseOf(kAutoencoder, 1, false), limits);
  for (const bool text : {false, true}) {
    for (const Layer& layer : kLayers) {
      for (const int batch : {2, 16}) Report(CaseOf(layer, batch, text), limits);
    }
  }
}

}  // namespace tiltshift::kernels::bench
