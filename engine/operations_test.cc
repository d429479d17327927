// Operations of the CPU backend in fp32 and bf16 against their formulas, at sizes that meet every way
// through the kernels: whole and partial tiles, few and many rows, all head dims, odd pictures.
#include <gtest/gtest.h>
#include <omp.h>

#include <bit>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <random>

#include "engine/backend.h"
#include "engine/cpu/isa.h"
#include "engine/testing/reference.h"

namespace tiltshift::engine {
namespace {

std::vector<float> Random(int64_t count, int seed) {
  std::mt19937 bits(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(count);
  for (float& value : values) value = uniform(bits);
  return values;
}

// A parameter with random values of its own, as a file of that type would have them.
struct Weights {
  std::vector<float> values;
  std::string bytes;
  Parameter parameter;

  Weights(std::vector<int64_t> shape, int seed, Dtype dtype = Dtype::kF32) {
    int64_t count = 1;
    for (const int64_t n : shape) count *= n;
    values = Random(count, seed);
    if (dtype == Dtype::kF32) bytes.assign(reinterpret_cast<const char*>(values.data()), count * sizeof(float));
    for (int64_t i = 0; i < count && dtype != Dtype::kF32; ++i) {
      // Bits that mean a number between 2^-8 and 1 in either type, both signs.
      const auto bits = std::bit_cast<uint32_t>(values[i]);
      const uint16_t half = dtype == Dtype::kBf16
                                ? bits >> 16
                                : (bits >> 16 & 0x8000) | ((8 + (bits >> 3) % 7) << 10) | (bits >> 6 & 0x3ff);
      bytes.append(reinterpret_cast<const char*>(&half), sizeof(half));
    }
    parameter = {.name = "weights", .shape = shape, .parts = {{dtype, shape, bytes}}};
  }
};

struct Network {
  Graph graph;
  std::vector<Value> inputs;
  Value output;
  // Changes the random numbers of input i, which are planar.
  std::function<void(size_t i, std::vector<float>* values)> change;

  Value Input(Shape shape) {
    inputs.push_back(graph.Input(shape, Element::kFloat));
    return graph.FromPlanar("in", inputs.back(), 1, 0);
  }
  void Output(const Value& y) {
    output = graph.ToPlanar("out", y);
    graph.Output(output);
  }
  std::vector<float> Values(size_t i) const {
    std::vector<float> values = Random(inputs[i].shape.size(), 100 + static_cast<int>(i));
    if (change) change(i, &values);
    return values;
  }
};

std::vector<float> Run(const Network& network, Compute compute, int threads) {
  omp_set_num_threads(threads);
  const std::unique_ptr<Backend> backend = MakeCpuBackend();
  const auto program = backend->Compile(network.graph, compute);
  EXPECT_TRUE(program.ok()) << program.status();
  for (size_t i = 0; i < network.inputs.size(); ++i) (*program)->Write(network.inputs[i], network.Values(i));
  std::vector<float> out(network.output.shape.size());
  for (int run = 0; run < 2; ++run) {  // the second in memory that the first has used
    (*program)->Run();
    (*program)->Read(network.output, out);
  }
  return out;
}

std::vector<double> Formulas(const Network& network) {
  std::map<int, std::vector<double>> inputs;
  for (size_t i = 0; i < network.inputs.size(); ++i) {
    const std::vector<float> values = network.Values(i);
    inputs[network.inputs[i].tensor] = {values.begin(), values.end()};
  }
  return testing::Evaluate(network.graph, std::move(inputs), network.output);
}

// Relative L2 distance.
template <class T>
double Distance(const std::vector<float>& a, const std::vector<T>& b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return std::sqrt(difference / norm);
}

// Rounding each of some thousand sums of floats in turn: 2^-24 times the square root of their number, halved.
constexpr double kSumsOfFloats = 2e-6;
// Where fp32 is products of bf16, two terms a side: each side is off by 2^-18 at most, 2.1e-6 in the mean square, and
// the product of the small terms, which is left out, is 1.5e-6 of the whole.
double ProductsOfFloats(int times = 1) { return cpu::HasAmx() ? times * 5e-6 : kSumsOfFloats; }

struct Bounds {
  double fp32 = ProductsOfFloats();
  // bf16 keeps 8 bits: rounding what goes in, the weights and what comes out costs about 3e-3 in all.
  double bf16 = 5e-3;
};

// In both precisions, whatever the number of threads. On processors without bf16, in fp32 alone.
void ExpectFormulas(const Network& network, const Bounds& bounds = {}) {
  const std::vector<double> formulas = Formulas(network);
  const auto expect = [&](Compute compute, double bound) {
    const std::vector<float> found = Run(network, compute, 1);
    EXPECT_LT(Distance(found, formulas), bound) << (compute == Compute::kFp32 ? "fp32" : "bf16");
    EXPECT_EQ(found, Run(network, compute, 2)) << "threads change bits";
  };
  expect(Compute::kFp32, bounds.fp32);
  if (MakeCpuBackend()->HasBf16()) expect(Compute::kBf16, bounds.bf16);
}

void ExpectSparingIsFp32(const Network& network) {
  const std::vector<float> sparing = Run(network, Compute::kFp32Sparing, 1);
  EXPECT_LT(Distance(sparing, Formulas(network)), kSumsOfFloats);
  EXPECT_EQ(sparing, Run(network, Compute::kFp32Sparing, 2)) << "threads change bits";
}

struct LinearCase {
  int rows, in, out;
  bool bias = true, residual = false;
  Dtype dtype = Dtype::kF32;
};

class LinearTest : public ::testing::TestWithParam<LinearCase> {};

TEST_P(LinearTest, IsItsFormula) {
  const LinearCase& size = GetParam();
  const Weights matrix({size.out, size.in}, 1, size.dtype), bias({size.out}, 2);
  Network network;
  const Value x = network.Input({size.rows, 1, size.in});
  LinearOp op = {
      .x = x, .matrix = &matrix.parameter, .bias = size.bias ? &bias.parameter : nullptr};
  if (size.residual) op.residual = network.Input({size.rows, 1, size.out});
  network.Output(network.graph.Linear("linear", op));
  ExpectFormulas(network);
}

// Where weights stay in the model's files.
TEST_P(LinearTest, SparingIsFp32) {
  const LinearCase& size = GetParam();
  const Weights matrix({size.out, size.in}, 1), bias({size.out}, 2);
  Network network;
  const Value x = network.Input({size.rows, 1, size.in});
  LinearOp op = {.x = x,
                 .matrix = &matrix.parameter,
                 .bias = size.bias ? &bias.parameter : nullptr,
                 .nonlinearity = Nonlinearity::kQuickGelu};
  if (size.residual) op.residual = network.Input({size.rows, 1, size.out});
  network.Output(network.graph.Linear("linear", op));
  ExpectSparingIsFp32(network);
}

INSTANTIATE_TEST_SUITE_P(Sizes, LinearTest,
                         ::testing::Values(LinearCase{1, 32, 16}, LinearCase{16, 64, 32},
                                           LinearCase{77, 96, 96}, LinearCase{64, 160, 1280, false},
                                           LinearCase{64, 640, 160, true, true},
                                           LinearCase{300, 64, 40, true, true},
                                           LinearCase{31, 32, 33}, LinearCase{20, 36, 24},
                                           // more rows than a GEGLU takes from oneDNN at a time
                                           LinearCase{430, 60, 2560},
                                           LinearCase{528, 320, 96, false, true},
                                           // a long sum in segments; more rows than a run has
                                           LinearCase{40, 5120, 48, true, true},
                                           LinearCase{4096, 320, 64},
                                           LinearCase{70, 96, 64, true, true, Dtype::kF16},
                                           LinearCase{70, 96, 64, true, true, Dtype::kBf16},
                                           // in fp32 more rows than are split at a time
                                           LinearCase{4130, 1024, 4, true, true},
                                           // large enough to be left in a file: one block, and blocks
                                           LinearCase{77, 512, 600, true, true},
                                           LinearCase{20, 768, 1500}));

// What a feed-forward begins with: one operation where the sizes allow it.
TEST_P(LinearTest, BeforeAGegluIsItsFormula) {
  const LinearCase& size = GetParam();
  const int out = size.out / 2 * 2;
  const Weights matrix({out, size.in}, 1, size.dtype), bias({out}, 2);
  Network network;
  const LinearOp op = {.x = network.Input({size.rows, 1, size.in}),
                       .matrix = &matrix.parameter,
                       .bias = size.bias ? &bias.parameter : nullptr};
  network.Output(network.graph.Geglu("geglu", network.graph.Linear("linear", op)));
  // Both factors of what comes out are products.
  ExpectFormulas(network, {.fp32 = ProductsOfFloats(2), .bf16 = 1e-2});
}

struct ConvCase {
  int height, width, in, out;
  int stride = 1;
  bool residual = false;
  Dtype dtype = Dtype::kF32;
};

class ConvTest : public ::testing::TestWithParam<ConvCase> {};

TEST_P(ConvTest, IsItsFormula) {
  const ConvCase& size = GetParam();
  const Weights filter({size.out, size.in, 3, 3}, 1, size.dtype), bias({size.out}, 2);
  Network network;
  const Value x = network.Input({size.height, size.width, size.in});
  ConvOp op = {.x = x, .filter = &filter.parameter, .bias = &bias.parameter, .stride = size.stride};
  if (size.residual) op.residual = network.Input({size.height, size.width, size.out});
  network.Output(network.graph.Conv("conv", op));
  ExpectFormulas(network);
}

INSTANTIATE_TEST_SUITE_P(Sizes, ConvTest,
                         ::testing::Values(ConvCase{32, 32, 64, 64},
                                           ConvCase{16, 16, 32, 96, 1, true},
                                           ConvCase{8, 8, 160, 160, 1, true},
                                           ConvCase{9, 13, 32, 40}, ConvCase{1, 1, 32, 16},
                                           ConvCase{3, 48, 64, 4}, ConvCase{16, 16, 4, 64},
                                           ConvCase{72, 104, 32, 40, 1, true},
                                           ConvCase{16, 16, 640, 40, 1, true},
                                           ConvCase{9, 13, 64, 40, 1, true, Dtype::kF16},
                                           ConvCase{9, 16, 64, 40, 1, true, Dtype::kBf16},
                                           // in fp32 more lines than are split at a time
                                           ConvCase{143, 512, 64, 1, 1, true}, ConvCase{143, 500, 64, 1},
                                           ConvCase{16, 16, 64, 64, 2},
                                           ConvCase{9, 13, 64, 64, 2}));

// The encoder of a VAE pads below and on the right alone: its window at (y, x) begins at (2y, 2x).
TEST(PadEndTest, WindowsBeginAtTheirCorner) {
  const Weights filter({5, 3, 3, 3}, 1);
  Network network;
  const Shape in = {6, 8, 3};
  const Value x = network.Input(in);
  network.Output(network.graph.Conv(
      "conv", {.x = x, .filter = &filter.parameter, .stride = 2, .pad_end = true}));
  const std::vector<float> picture = Random(in.size(), 100);  // planar, as Run writes it
  std::vector<float> expected;
  for (int out = 0; out < 5; ++out) {
    for (int i = 0; i < 3 * 4; ++i) {
      double sum = 0;
      for (int tap = 0; tap < 27; ++tap) {
        const int c = tap / 9, h = i / 4 * 2 + tap % 9 / 3, w = i % 4 * 2 + tap % 3;
        if (h < in.height && w < in.width) {
          sum += double{filter.values[out * 27 + tap]} * picture[(c * in.height + h) * in.width + w];
        }
      }
      expected.push_back(static_cast<float>(sum));
    }
  }
  EXPECT_LT(Distance(engine::Run(network, Compute::kFp32, 1), expected), 1e-6);
  ExpectFormulas(network);
}

// As in a residual block: what the norm makes lies with the border that the convolution reads.
TEST_P(ConvTest, AfterAGroupNormIsItsFormula) {
  const ConvCase& size = GetParam();
  const Weights filter({size.out, size.in, 3, 3}, 1), bias({size.out}, 2), scale({size.in}, 3),
      shift({size.in}, 4);
  Network network;
  const GroupNormOp norm = {.x = network.Input({size.height, size.width, size.in}),
                            .scale = &scale.parameter,
                            .shift = &shift.parameter,
                            .groups = 4,
                            .nonlinearity = Nonlinearity::kSilu};
  const Value x = network.graph.GroupNorm("norm", norm);
  const ConvOp conv = {
      .x = x, .filter = &filter.parameter, .bias = &bias.parameter, .stride = size.stride};
  network.Output(network.graph.Conv("conv", conv));
  // Most of what is summed is positive, and the sum smaller than its parts.
  ExpectFormulas(network, {.fp32 = ProductsOfFloats(2), .bf16 = 1e-2});
}

// As between two levels.
TEST_P(ConvTest, AfterAnUpsamplingIsItsFormula) {
  const ConvCase& size = GetParam();
  if (size.stride != 1 || size.width >= 500) GTEST_SKIP() << "the same again";
  const Weights filter({size.out, size.in, 3, 3}, 1), bias({size.out}, 2);
  Network network;
  const Value x = network.graph.Upsample("up", network.Input({size.height, size.width, size.in}), 2 * size.height, 2 * size.width - 1);
  network.Output(network.graph.Conv("conv", {.x = x, .filter = &filter.parameter, .bias = &bias.parameter}));
  ExpectFormulas(network);
}

struct AttentionCase {
  int queries, keys, heads, d;
};

class AttentionTest : public ::testing::TestWithParam<AttentionCase> {};

TEST_P(AttentionTest, IsItsFormula) {
  const AttentionCase& size = GetParam();
  const int channels = size.heads * size.d;
  Network network;
  AttentionOp op = {.heads = size.heads};
  op.q = network.Input({size.queries, 1, channels});
  op.k = network.Input({size.keys, 1, channels});
  op.v = network.Input({size.keys, 1, channels});
  network.Output(network.graph.Attention("attention", op));
  // The mean of many values is small beside them, and the weights' own rounding is not.
  ExpectFormulas(network, {.fp32 = ProductsOfFloats(2), .bf16 = 1e-2});
}

INSTANTIATE_TEST_SUITE_P(
    Sizes, AttentionTest,
    ::testing::Values(AttentionCase{64, 64, 5, 32}, AttentionCase{256, 256, 4, 24},
                      AttentionCase{64, 77, 5, 32}, AttentionCase{33, 5, 2, 40},
                      AttentionCase{17, 300, 1, 80}, AttentionCase{100, 129, 1, 160},
                      AttentionCase{16, 64, 1, 512},
                      // Stable Diffusion's: 64x64 places of 8 heads, and the like
                      AttentionCase{160, 4096, 2, 40}, AttentionCase{64, 4096, 1, 64},
                      AttentionCase{130, 1024, 1, 80}, AttentionCase{40, 2000, 1, 160}));

// One key beyond what weights can be without a top: where it scores high it takes all, else nothing.
TEST_P(AttentionTest, WithAKeyThatOutweighsAllIsItsFormula) {
  const AttentionCase& size = GetParam();
  const int channels = size.heads * size.d;
  Network network;
  AttentionOp op = {.heads = size.heads};
  op.q = network.Input({size.queries, 1, channels});
  op.k = network.Input({size.keys, 1, channels});
  op.v = network.Input({size.keys, 1, channels});
  network.Output(network.graph.Attention("attention", op));
  const int key = size.keys * 2 / 3;
  network.change = [&](size_t i, std::vector<float>* values) {
    if (i != 1) return;
    for (int c = 0; c < channels; ++c) (*values)[c * size.keys + key] *= 1000;
  };
  // Rounding moves that key's score by about 1, and fp32's terms by about 1e-3, which matters in the some 1.5% of rows
  // where it is near the others'.
  ExpectFormulas(network, {.fp32 = cpu::HasAmx() ? 1e-4 : kSumsOfFloats, .bf16 = 0.06});
}

struct NormCase {
  int rows, channels, groups;
  Nonlinearity nonlinearity = Nonlinearity::kSilu;
};

class GroupNormTest : public ::testing::TestWithParam<NormCase> {};

TEST_P(GroupNormTest, IsItsFormula) {
  const NormCase& size = GetParam();
  const Weights scale({size.channels}, 1), shift({size.channels}, 2);
  Network network;
  const Value x = network.Input({size.rows, 1, size.channels});
  const GroupNormOp op = {.x = x,
                          .scale = &scale.parameter,
                          .shift = &shift.parameter,
                          .groups = size.groups,
                          .nonlinearity = size.nonlinearity};
  network.Output(network.graph.GroupNorm("norm", op));
  ExpectFormulas(network, {.fp32 = kSumsOfFloats});
}

INSTANTIATE_TEST_SUITE_P(Sizes, GroupNormTest,
                         ::testing::Values(NormCase{1024, 64, 32}, NormCase{256, 96, 32},
                                           NormCase{65, 160, 32}, NormCase{1, 40, 4},
                                           NormCase{129, 320, 32, Nonlinearity::kNone},
                                           NormCase{7, 72, 1, Nonlinearity::kQuickGelu}));

TEST(RowsTest, LayerNormIsItsFormula) {
  const Weights scale({100}, 1), shift({100}, 2);
  Network network;
  const Value x = network.Input({33, 1, 100});
  network.Output(network.graph.LayerNorm(
      "norm", {.x = x, .scale = &scale.parameter, .shift = &shift.parameter}));
  ExpectFormulas(network, {.fp32 = kSumsOfFloats});
}

TEST(RowsTest, MapsAreTheirFormulas) {
  for (const Nonlinearity f : {Nonlinearity::kRelu, Nonlinearity::kSoftClamp}) {
    Network network;
    const Value x = network.Input({33, 1, 7});
    network.Output(network.graph.Map("map", x, f));
    std::vector<float> expected = Random(33 * 7, 100);
    for (float& v : expected) v = f == Nonlinearity::kRelu ? std::fmax(v, 0.0f) : 3 * std::tanh(v / 3);
    EXPECT_LT(Distance(engine::Run(network, Compute::kFp32, 1), expected), 1e-6);
    ExpectFormulas(network, {.fp32 = kSumsOfFloats});
  }
}

TEST(RowsTest, UpsampleCutsOddSides) {
  for (const auto& [height, width] :
       {std::pair(6, 10), std::pair(5, 10), std::pair(6, 9), std::pair(5, 9)}) {
    Graph graph;
    const Value x = graph.Input({3, 5, 1}, Element::kFloat);
    const Value up =
        graph.Upsample("up", graph.Map("x", x, Nonlinearity::kNone), height, width);
    const Value y = graph.Map("y", up, Nonlinearity::kNone, Element::kFloat);
    graph.Output(y);
    const auto backend = MakeCpuBackend();
    const auto program = backend->Compile(graph, Compute::kFp32);
    ASSERT_TRUE(program.ok()) << program.status();
    std::vector<float> in(15), out(height * width);
    std::iota(in.begin(), in.end(), 0.0f);
    (*program)->Write(x, in);
    (*program)->Run();
    (*program)->Read(y, out);
    for (int h = 0; h < height; ++h) {
      for (int w = 0; w < width; ++w) {
        ASSERT_EQ(out[h * width + w], in[h / 2 * 5 + w / 2]) << h << " " << w;
      }
    }
  }
}

TEST(RowsTest, GegluIsItsFormula) {
  Network network;
  network.Output(network.graph.Geglu("geglu", network.Input({33, 1, 2 * 72})));
  ExpectFormulas(network, {.fp32 = kSumsOfFloats});
}

}  // namespace
}  // namespace tiltshift::engine
