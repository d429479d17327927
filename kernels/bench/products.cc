// GEMM and convolution at the shapes of SD 1.5 at 512 x 512 and SDXL at 1024 x 1024, two samples
// (guidance), and of their autoencoder.
#include <algorithm>
#include <vector>

#include "base/check.h"
#include "kernels/bench/card_timer.h"
#include "kernels/bench/gpu_check.h"
#include "kernels/testing/conv_case.h"
#include "kernels/testing/device_buffer.h"
#include "kernels/testing/gemm_case.h"

namespace tiltshift::kernels::bench {
namespace {

using testing::ConvCase;
using testing::DeviceBuffer;
using testing::GemmCase;
using testing::RandomNumbers;

ConvShape Square(int batch, int size, int channels, int out_channels) {
  return {.batch = batch,
          .height = size,
          .width = size,
          .channels = channels,
          .out_height = size,
          .out_width = size,
          .out_channels = out_channels};
}

const GemmCase kGemms[] = {
    {.name = "square 4096", .shape = {4096, 4096, 4096}},
    {.name = "square 8192", .shape = {8192, 8192, 8192}},
    {.name = "sd15 64 project", .shape = {8192, 320, 320}, .bias = true, .residual = true},
    {.name = "sd15 64 geglu",
     .shape = {8192, 2560, 320},
     .activation = Activation::kGeglu,
     .bias = true},
    {.name = "sd15 64 down", .shape = {8192, 320, 1280}, .bias = true, .residual = true},
    {.name = "sd15 32 project", .shape = {2048, 640, 640}, .bias = true, .residual = true},
    {.name = "sd15 32 geglu",
     .shape = {2048, 5120, 640},
     .activation = Activation::kGeglu,
     .bias = true},
    {.name = "sd15 32 down", .shape = {2048, 640, 2560}, .bias = true, .residual = true},
    {.name = "sd15 16 project", .shape = {512, 1280, 1280}, .bias = true, .residual = true},
    {.name = "sd15 16 geglu",
     .shape = {512, 10240, 1280},
     .activation = Activation::kGeglu,
     .bias = true},
    {.name = "sd15 16 down", .shape = {512, 1280, 5120}, .bias = true, .residual = true},
    {.name = "sdxl 64 project", .shape = {8192, 640, 640}, .bias = true, .residual = true},
    {.name = "sdxl 64 geglu",
     .shape = {8192, 5120, 640},
     .activation = Activation::kGeglu,
     .bias = true},
    {.name = "sdxl 64 down", .shape = {8192, 640, 2560}, .bias = true, .residual = true},
    {.name = "sdxl 32 project", .shape = {2048, 1280, 1280}, .bias = true, .residual = true},
    {.name = "sdxl 32 geglu",
     .shape = {2048, 10240, 1280},
     .activation = Activation::kGeglu,
     .bias = true},
    {.name = "sdxl 32 down", .shape = {2048, 1280, 5120}, .bias = true, .residual = true},
};

const ConvCase kConvs[] = {
    {.name = "sd15 64 320->320",
     .shape = Square(2, 64, 320, 320),
     .bias = true,
     .sample_bias = true},
    {.name = "sd15 64 640->320",
     .shape = Square(2, 64, 640, 320),
     .bias = true,
     .sample_bias = true},
    {.name = "sd15 32 640->640",
     .shape = Square(2, 32, 640, 640),
     .bias = true,
     .sample_bias = true},
    {.name = "sd15 16 1280->1280",
     .shape = Square(2, 16, 1280, 1280),
     .bias = true,
     .sample_bias = true},
    {.name = "sd15 8 1280->1280",
     .shape = Square(2, 8, 1280, 1280),
     .bias = true,
     .sample_bias = true},
    {.name = "sdxl 128 320->320",
     .shape = Square(2, 128, 320, 320),
     .bias = true,
     .sample_bias = true},
    {.name = "sdxl 64 640->640",
     .shape = Square(2, 64, 640, 640),
     .bias = true,
     .sample_bias = true},
    {.name = "sdxl 32 1280->1280",
     .shape = Square(2, 32, 1280, 1280),
     .bias = true,
     .sample_bias = true},
    {.name = "vae 64 512->512", .shape = Square(1, 64, 512, 512), .bias = true, .residual = true},
    {.name = "vae 256 256->256", .shape = Square(1, 256, 256, 256), .bias = true, .residual = true},
    {.name = "vae 512 128->128", .shape = Square(1, 512, 128, 128), .bias = true, .residual = true},
};

// Buffers of a product of these sizes, several sets of them, so that what a run reads is not what
// the run before left in the cache.
struct Sets {
  static constexpr int kSets = 3;

  Sets(int64_t x_numbers, int64_t w_numbers, int64_t y_numbers, int64_t bias_numbers)
      : bias(RandomNumbers<float>(bias_numbers, 3)) {
    for (int i = 0; i < kSets; ++i) {
      x.emplace_back(RandomNumbers<Bf16>(x_numbers, 10 + i));
      w.emplace_back(RandomNumbers<Bf16>(w_numbers, 20 + i, 0.05f));
      y.emplace_back(y_numbers);
      residual.emplace_back(RandomNumbers<Bf16>(y_numbers, 30 + i));
    }
  }

  std::vector<DeviceBuffer<Bf16>> x, w, y, residual;
  DeviceBuffer<float> bias;
};

// What a layer would be given: tile and split of kAuto, or a tile alone.
struct Plan {
  TileChoice tile;
  Split split;
};

double SecondsOfGemm(const GemmCase& c, const Plan& plan, const Sets& sets) {
  const int64_t columns = c.activation == Activation::kGeglu ? c.shape.n / 2 : c.shape.n;
  return SecondsOf([&](cudaStream_t stream, int run) {
    const int i = run % Sets::kSets;
    const GemmArguments<Bf16> arguments = {
        .shape = c.shape,
        .x = sets.x[i].get(),
        .x_stride = c.shape.k,
        .w = sets.w[i].get(),
        .y = sets.y[i].get(),
        .y_stride = columns,
        .tile = plan.tile,
        .split = plan.split,
        .epilogue = {.bias = c.bias ? sets.bias.get() : nullptr,
                     .residual = c.residual ? sets.residual[i].get() : nullptr,
                     .residual_stride = columns,
                     .activation = c.activation},
    };
    TS_CHECK(Gemm<Bf16>(stream, arguments) == cudaSuccess);
  });
}

double SecondsOfConv(const ConvCase& c, const Plan& plan, const Sets& sets) {
  const ConvShape& s = c.shape;
  return SecondsOf([&](cudaStream_t stream, int run) {
    const int i = run % Sets::kSets;
    const ConvArguments<Bf16> arguments = {
        .shape = s,
        .x = sets.x[i].get(),
        .x_stride = s.channels,
        .w = sets.w[i].get(),
        .y = sets.y[i].get(),
        .y_stride = s.out_channels,
        .tile = plan.tile,
        .split = plan.split,
        .epilogue = {.bias = sets.bias.get(),
                     .sample_bias = c.sample_bias ? sets.bias.get() : nullptr,
                     .rows_per_sample = s.out_height * s.out_width,
                     .residual = c.residual ? sets.residual[i].get() : nullptr,
                     .residual_stride = s.out_channels},
    };
    TS_CHECK(Conv<Bf16>(stream, arguments) == cudaSuccess);
  });
}

// One line: the time and rate of what kAuto and `splits` give, cuBLAS's for the same product, and
// the rate of every tile, unsplit; then of two tiles with k in shares.
template <class SecondsOfPlan>
void Report(const std::string& name, const GemmShape& shape, int splits, const Limits& limits,
            const SecondsOfPlan& seconds_of) {
  const double flops = 2.0 * shape.m * shape.n * shape.k;
  constexpr int kMostSplits = 6;
  const DeviceBuffer<float> partials(int64_t{std::max(splits, kMostSplits)} * shape.m * shape.n);
  const double seconds = seconds_of(Plan{TileChoice::kAuto, {splits, partials.get()}});
  std::printf("  %-20s %8.1f us %6.0f", name.c_str(), seconds * 1e6, flops / seconds * 1e-12);
  if (limits.gemm_flops_per_second > 0) {
    std::printf(" %4.0f%% | %6.0f", 100 * flops / seconds / limits.gemm_flops_per_second,
                flops / LibraryGemmSeconds(shape.m, shape.n, shape.k) * 1e-12);
  }
  std::printf(" | %2d |", splits);
  for (const TileChoice tile : kAllTiles)
    std::printf(" %6.0f", flops / seconds_of(Plan{tile, {}}) * 1e-12);
  // What more shares would give, where tiles are few.
  const bool few_tiles = int64_t{shape.m} * shape.n <= 2048 * 1280;
  for (const int count : {2, 3, 4, 6}) {
    if (!few_tiles || shape.k / count < 4 * kSplitUnit) break;
    std::printf(" | %d shares", count);
    for (const TileChoice tile : {TileChoice::k64x64Deep, TileChoice::k128x128}) {
      std::printf(" %4.0f", flops / seconds_of(Plan{tile, {count, partials.get()}}) * 1e-12);
    }
  }
  std::printf("\n");
}

void PrintHead(const char* what) {
  std::printf("\n%s, bf16, TFLOP/s: time, rate, share of the GEMM limit | cuBLAS | splits |", what);
  for (const TileChoice tile : kAllTiles) std::printf(" %s", NameOf(tile));
  std::printf("\n");
}

}  // namespace

void CheckProducts(Verdicts& verdicts) {
  constexpr int kRows = 9;
  for (GemmCase c : kGemms) {
    c.splits = ChooseSplit(c.shape.m / 2, c.shape.n, c.shape.k, c.shape.k);
    verdicts.Compared("gemm " + c.name, testing::RunGemmCase<Bf16>(c, kRows).worst);
  }
  for (ConvCase c : kConvs) {
    const ConvShape& s = c.shape;
    c.splits = ChooseSplit(int64_t{s.out_height} * s.out_width, s.out_channels, s.channels,
                           9 * s.channels);
    verdicts.Compared("conv " + c.name, testing::RunConvCase<Bf16>(c, kRows).worst);
  }
  verdicts.Compared("gemm fp16", testing::RunGemmCase<Fp16>(kGemms[2], kRows).worst);
  verdicts.Compared("conv fp16", testing::RunConvCase<Fp16>(kConvs[0], kRows).worst);
  for (GemmCase c : {kGemms[2], kGemms[8]}) {
    c.tile = TileChoice::k64x64;
    const uint64_t bits = testing::BitsOf<Bf16>(c);
    for (const TileChoice tile : kAllTiles) {
      c.tile = tile;
      verdicts.Was("gemm " + c.name + ", tile " + NameOf(tile) + ": the same bits",
                   testing::BitsOf<Bf16>(c) == bits);
    }
  }
  verdicts.Was("conv: a sample alone has the bits it has in a batch",
               testing::SameBitsForEachSample<Bf16>(kConvs[3]));
}

void BenchProducts(const Limits& limits) {
  PrintHead("GEMM");
  for (const GemmCase& c : kGemms) {
    const GemmShape& s = c.shape;
    const Sets sets(int64_t{s.m} * s.k, int64_t{s.n} * s.k, int64_t{s.m} * s.n, s.n);
    const int rows = s.m / 2;  // of a sample
    Report(c.name, s, ChooseSplit(rows, s.n, s.k, s.k), limits,
           [&](const Plan& plan) { return SecondsOfGemm(c, plan, sets); });
  }
  PrintHead("Convolution 3x3");
  for (const ConvCase& c : kConvs) {
    const ConvShape& s = c.shape;
    const int m = s.batch * s.out_height * s.out_width, k = 9 * s.channels;
    const Sets sets(int64_t{s.batch} * s.height * s.width * s.channels, int64_t{s.out_channels} * k,
                    int64_t{m} * s.out_channels, int64_t{s.batch} * s.out_channels);
    Report(c.name, {m, s.out_channels, k}, ChooseSplit(m / s.batch, s.out_channels, s.channels, k),
           limits, [&](const Plan& plan) { return SecondsOfConv(c, plan, sets); });
  }
}

}  // namespace tiltshift::kernels::bench
