// What kernels ask of memory, as the emulator counts it: the table of docs/performance.md. Bytes of
// device memory over the least (every tensor once), sectors over the fewest that the requests'
// bytes would fit in, and passes over shared memory's banks beyond one a request.
//
//   kernel_costs
#include <cstdio>

#include "kernels/emulation/card.h"
#include "kernels/testing/attention_case.h"
#include "kernels/testing/conv_case.h"
#include "kernels/testing/gemm_case.h"
#include "kernels/testing/norm_case.h"

namespace tiltshift::kernels {
namespace {

template <class RunCase>
void Print(const char* name, int64_t least_bytes, const RunCase& run) {
  emulation::TheCard().TakeCounters();
  run();
  const emulation::Counters c = emulation::TheCard().TakeCounters();
  const int64_t bytes = c.global_bytes_loaded + c.global_bytes_stored;
  std::printf("| %s | %.1f | %.3f | %lld |\n", name,
              static_cast<double>(bytes) / static_cast<double>(least_bytes),
              static_cast<double>(c.sectors) / static_cast<double>(c.ideal_sectors),
              static_cast<long long>(c.bank_conflicts + c.matrix_bank_conflicts));
}

void Gemm(const char* name, GemmShape s) {
  Print(name, 2 * (int64_t{s.m} * s.k + int64_t{s.n} * s.k + int64_t{s.m} * s.n) + 4 * s.n, [&] {
    testing::RunGemmCase<Bf16>({.shape = s, .bias = true, .tile = TileChoice::k128x128}, 1);
  });
}

void Conv(const char* name, int kernel, bool prologue) {
  constexpr int kSide = 32, kChannels = 320, kPositions = kSide * kSide;
  const ConvShape shape = {.height = kSide,
                           .width = kSide,
                           .channels = kChannels,
                           .out_height = kSide,
                           .out_width = kSide,
                           .out_channels = kChannels,
                           .kernel = kernel,
                           .pad = kernel / 2};
  const int64_t weights = int64_t{kChannels} * kernel * kernel * kChannels;
  const int64_t floats = kChannels + (prologue ? 2 * kChannels : 0);
  Print(name, 2 * (2 * kPositions * kChannels + weights) + 4 * floats, [&] {
    testing::RunConvCase<Bf16>(
        {.shape = shape, .prologue = prologue, .bias = true, .tile = TileChoice::k128x128}, 1);
  });
}

// Of two heads: every other one of 40 channels begins within a sector.
void Attention(const char* name, int head_dim, int queries, int keys) {
  constexpr int kHeads = 2;
  const testing::AttentionCase c = {
      .shape = {.heads = kHeads, .head_dim = head_dim, .queries = queries, .keys = keys},
      .packed = queries == keys};
  Print(name, int64_t{2} * 2 * (queries + keys) * kHeads * head_dim,
        [&] { testing::RunAttentionCase<Bf16>(c, 1); });
}

void Norm(const char* name, int groups) {
  constexpr int64_t kRows = 1024, kChannels = 320;
  Print(name, 4 * kRows * kChannels + 8 * kChannels, [&] {
    testing::RunNormCase<Bf16>(
        {.shape = {.positions = kRows, .channels = kChannels, .groups = groups},
         .silu = groups > 0});
  });
}

void PrintTable() {
  const emulation::Tracked tracked;
  std::printf(
      "| kernel | bytes over the least | sectors over the ideal | bank conflicts "
      "|\n|---|---|---|---|\n");
  Gemm("GEMM 1024 x 1280 x 320, 128x128x64", {1024, 1280, 320});
  Conv("3x3, 32 x 32, 320 to 320, 128x128x64", 3, false);
  Conv("1x1 with a norm before it, likewise", 1, true);
  Attention("self attention, 512 rows, d 40", 40, 512, 512);
  Attention("d 64", 64, 512, 512);
  Attention("d 80", 80, 512, 512);
  Attention("d 160", 160, 512, 512);
  Attention("d 512, 256 rows", 512, 256, 256);
  Attention("1,024 queries on 77 keys, d 64", 64, 1024, 77);
  Attention("on 231 keys, d 64", 64, 1024, 231);
  Attention("on 154 keys, d 40", 40, 1024, 154);
  Norm("group norm + SiLU, 1,024 x 320", 32);
  Norm("layer norm, 1,024 x 320", 0);
}

}  // namespace
}  // namespace tiltshift::kernels

int main() {
  tiltshift::kernels::PrintTable();
  return 0;
}
