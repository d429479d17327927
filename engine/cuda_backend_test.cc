// Each operation of a graph on the card against the CPU backend in fp32, at small shapes that meet
// every way through the CUDA backend: padded channels, ranges of channels, folded operations, parts
// that are made in place.
#include <gtest/gtest.h>

#include "engine/cuda/card_layout.h"
#include "engine/testing/backend_case.h"

namespace tiltshift::engine {
namespace {

using testing::Network;
using testing::Weights;

class CudaOperationTest : public testing::CudaTest {};

// bf16 keeps 8 bits: rounding what goes in, the weights and what comes out costs about 3e-3 in all;
// fp16, which the small networks of text and time are computed with, keeps 3 more.
constexpr double kBf16Bound = 6e-3, kFp16Bound = 1e-3;

void ExpectNearCpu(const Network& network, double scale = 1) {
  const std::vector<float> expected = testing::RunOnCpu(network);
  EXPECT_LT(testing::Distance(testing::RunOnCuda(network, Compute::kBf16), expected),
            scale * kBf16Bound);
  EXPECT_LT(testing::Distance(testing::RunOnCuda(network, Compute::kFp32), expected),
            scale * kFp16Bound);
}

TEST_F(CudaOperationTest, Linear) {
  for (const auto& [rows, in, out] :
       {std::tuple(1, 32, 16), {77, 96, 96}, {31, 32, 33}, {20, 36, 20}}) {
    for (const Nonlinearity f : {Nonlinearity::kNone, Nonlinearity::kSilu, Nonlinearity::kGelu,
                                 Nonlinearity::kQuickGelu}) {
      const Weights matrix({out, in}, 1), bias({out}, 2);
      Network network;
      network.Output(network.graph.Linear("linear", {.x = network.Input({rows, 1, in}),
                                                     .matrix = &matrix.parameter,
                                                     .bias = &bias.parameter,
                                                     .residual = network.Input({rows, 1, out}),
                                                     .nonlinearity = f}));
      ExpectNearCpu(network);
    }
  }
}

TEST_F(CudaOperationTest, LinearToFloatWithoutBias) {
  const Weights matrix({10, 24}, 1);
  Network network;
  network.Output(network.graph.Linear(
      "linear", {.x = network.Input({5, 3, 24}), .matrix = &matrix.parameter}, Element::kFloat));
  ExpectNearCpu(network);
}

TEST_F(CudaOperationTest, Convolutions) {
  struct Case {
    int height, width, in, out, kernel = 3, stride = 1;
    bool pad_end = false;
  };
  for (const Case& c :
       {Case{8, 8, 32, 64}, Case{9, 13, 4, 40}, Case{1, 1, 32, 16}, Case{5, 6, 12, 3},
        Case{9, 13, 64, 24, 3, 2}, Case{8, 6, 16, 16, 3, 2, true}, Case{6, 5, 24, 12, 1}}) {
    const Weights filter({c.out, c.in, c.kernel, c.kernel}, 1), bias({c.out}, 2);
    Network network;
    const Value x = network.Input({c.height, c.width, c.in});
    ConvOp op = {.x = x, .filter = &filter.parameter, .bias = &bias.parameter, .stride = c.stride};
    op.pad_end = c.pad_end;
    op.residual =
        network.Input({(c.height - 1) / c.stride + 1, (c.width - 1) / c.stride + 1, c.out});
    network.Output(network.graph.Conv("conv", op));
    ExpectNearCpu(network);
  }
}

// As a residual block takes its time: a part of a row of fp32.
TEST_F(CudaOperationTest, ConvolutionWithARowOfBiases) {
  const Weights filter({24, 16, 3, 3}, 1), bias({24}, 2);
  Network network;
  const Value x = network.Input({6, 5, 16});
  const Value row = network.FloatInput({1, 1, 40});
  network.Output(network.graph.Conv("conv", {.x = x,
                                             .filter = &filter.parameter,
                                             .bias = &bias.parameter,
                                             .row_bias = Graph::Channels(row, 16, 24)}));
  ExpectNearCpu(network);
}

TEST_F(CudaOperationTest, UpsamplingBeforeAConvolutionIsItsLoads) {
  const Weights filter({24, 16, 3, 3}, 1);
  for (const auto& [height, width] : {std::pair(8, 10), {7, 10}, {8, 9}}) {
    Network network;
    const Value up = network.graph.Upsample("up", network.Input({4, 5, 16}), height, width);
    network.Output(network.graph.Conv("conv", {.x = up, .filter = &filter.parameter}));
    ExpectNearCpu(network);
  }
}

TEST_F(CudaOperationTest, UpsamplingThatTwoRead) {
  const Weights filter({12, 12, 3, 3}, 1);
  Network network;
  const Value up = network.graph.Upsample("up", network.Input({3, 4, 12}));
  network.Output(
      network.graph.Conv("conv", {.x = up, .filter = &filter.parameter, .residual = up}));
  ExpectNearCpu(network);
}

TEST_F(CudaOperationTest, Norms) {
  const Weights scale({48}, 1), shift({48}, 2);
  for (const Nonlinearity f :
       {Nonlinearity::kNone, Nonlinearity::kSilu, Nonlinearity::kQuickGelu}) {
    Network network;
    const GroupNormOp op = {.x = network.Input({9, 7, 48}),
                            .scale = &scale.parameter,
                            .shift = &shift.parameter,
                            .groups = 4,
                            .nonlinearity = f};
    network.Output(network.graph.GroupNorm("norm", op));
    ExpectNearCpu(network);
  }
  Network network;
  const LayerNormOp op = {
      .x = network.Input({33, 1, 48}), .scale = &scale.parameter, .shift = &shift.parameter};
  network.Output(network.graph.LayerNorm("norm", op));
  ExpectNearCpu(network);
}

// Some of these the convolution does in its loads, some not: the results are the same.
TEST_F(CudaOperationTest, NormsBeforeConvolutions) {
  const Weights scale({48}, 1), shift({48}, 2), narrow({8, 48, 3, 3}, 3), wide({48, 48, 3, 3}, 4),
      one({24, 48, 1, 1}, 5);
  const auto norm = [&](Network& network, const Value& x, Nonlinearity f) {
    return network.graph.GroupNorm("norm", {.x = x,
                                            .scale = &scale.parameter,
                                            .shift = &shift.parameter,
                                            .groups = 4,
                                            .nonlinearity = f});
  };
  for (const Nonlinearity f :
       {Nonlinearity::kNone, Nonlinearity::kSilu, Nonlinearity::kQuickGelu}) {
    for (const Weights* filter : {&narrow, &one}) {
      Network network;
      const Value h = norm(network, network.Input({9, 7, 48}), f);
      network.Output(network.graph.Conv("conv", {.x = h, .filter = &filter->parameter}));
      ExpectNearCpu(network, 2);
    }
    // The residual is what the norm reads, at other positions than the convolution writes.
    Network block;
    const Value x = block.graph.Map("x", block.Input({9, 7, 48}), Nonlinearity::kNone);
    block.Output(block.graph.Conv(
        "conv", {.x = norm(block, x, f), .filter = &wide.parameter, .residual = x}));
    ExpectNearCpu(block, 2);
  }
}

// What the card reads and writes the more costs less than what its products do the more, where
// there is little of it.
TEST(CardLayoutTest, NormsAreFoldedWhereTheyCostLess) {
  const auto is_folded = [](int side, int channels) {
    const Weights scale({channels}, 1), shift({channels}, 2), filter({channels, channels, 3, 3}, 3);
    Network network;
    const Value h = network.graph.GroupNorm("norm", {.x = network.Input({side, side, channels}),
                                                     .scale = &scale.parameter,
                                                     .shift = &shift.parameter,
                                                     .groups = 8,
                                                     .nonlinearity = Nonlinearity::kSilu});
    network.Output(network.graph.Conv("conv", {.x = h, .filter = &filter.parameter}));
    constexpr int kNorm = 1;
    return cuda::CardLayout(network.graph, 1).IsFolded(kNorm);
  };
  EXPECT_TRUE(is_folded(16, 64));
  EXPECT_FALSE(is_folded(128, 64));
}

// As the small autoencoders have it: with the residual before the function.
TEST_F(CudaOperationTest, FunctionsBehindConvolutions) {
  const Weights filter({20, 20, 3, 3}, 1), bias({20}, 2);
  for (const Nonlinearity f :
       {Nonlinearity::kRelu, Nonlinearity::kSoftClamp, Nonlinearity::kSilu}) {
    Network network;
    const Value x = network.Input({5, 6, 20});
    ConvOp op = {.x = network.graph.Upsample("up", x), .filter = &filter.parameter};
    const Value h = network.graph.Map("map", network.graph.Conv("up.conv", op), f);
    op = {.x = h, .filter = &filter.parameter, .bias = &bias.parameter, .residual = h};
    network.Output(network.graph.Map("last", network.graph.Conv("conv", op), f));
    ExpectNearCpu(network, 2);
  }
}

// A picture's part is normed by moments that others measured, and measures its own for them.
TEST_F(CudaOperationTest, NormsOfPartsOfAPicture) {
  const Weights scale({48}, 1), shift({48}, 2);
  const auto norm = [&](Network& network) {
    return network.graph.GroupNorm("norm", {.x = network.Input({9, 7, 48}),
                                            .scale = &scale.parameter,
                                            .shift = &shift.parameter,
                                            .groups = 4,
                                            .nonlinearity = Nonlinearity::kSilu});
  };
  Network measured;
  measured.graph.SetNorms(Norms::kMeasured);
  norm(measured);
  measured.output = measured.graph.measured_moments()[0];
  ExpectNearCpu(measured);

  Network given;
  given.graph.SetNorms(Norms::kGiven);
  const Value y = norm(given);
  given.inputs.push_back(given.graph.given_moments()[0]);
  given.Output(y);
  ExpectNearCpu(given);
}

TEST_F(CudaOperationTest, Attention) {
  struct Case {
    int queries, keys, heads, head_dim;
    bool causal = false;
  };
  for (const Case& c :
       {Case{64, 64, 5, 32}, Case{40, 77, 4, 24}, Case{33, 33, 2, 40, true}, Case{17, 100, 1, 64},
        Case{20, 30, 1, 80}, Case{16, 90, 1, 128}, Case{9, 9, 1, 160},
        // Head dims without tiles of their own.
        Case{20, 77, 4, 8}, Case{33, 33, 2, 16, true}, Case{9, 40, 1, 56}, Case{8, 20, 1, 256}}) {
    const int channels = c.heads * c.head_dim;
    Network network;
    AttentionOp op = {.heads = c.heads, .causal = c.causal};
    op.q = network.Input({c.queries, 1, channels});
    const Value both =
        network.Input({c.keys, 1, 2 * channels});  // as a prompt's keys and values lie
    op.k = Graph::Channels(both, 0, channels);
    op.v = Graph::Channels(both, channels, channels);
    network.Output(network.graph.Attention("attention", op));
    // The mean of many values is small beside them, and the weights' own rounding is not.
    ExpectNearCpu(network, 3);
  }
}

TEST_F(CudaOperationTest, GegluAloneAndBehindItsLinearLayer) {
  Network alone;
  alone.Output(alone.graph.Geglu("geglu", alone.Input({33, 1, 2 * 72})));
  ExpectNearCpu(alone);

  const Weights matrix({2 * 40, 24}, 1), bias({2 * 40}, 2);
  Network folded;
  const Value h = folded.graph.Linear(
      "linear",
      {.x = folded.Input({19, 1, 24}), .matrix = &matrix.parameter, .bias = &bias.parameter});
  folded.Output(folded.graph.Geglu("geglu", h));
  ExpectNearCpu(folded, 2);
}

TEST_F(CudaOperationTest, Maps) {
  for (const Nonlinearity f :
       {Nonlinearity::kNone, Nonlinearity::kSilu, Nonlinearity::kGelu, Nonlinearity::kQuickGelu,
        Nonlinearity::kRelu, Nonlinearity::kSoftClamp}) {
    for (const int channels : {7, 16}) {
      Network network;
      network.Output(network.graph.Map("map", network.Input({11, 3, channels}), f));
      ExpectNearCpu(network);
    }
  }
}

// What lies behind the channels of a tensor that a map makes from floats must be zeros for the
// product that follows, whatever was there before.
TEST_F(CudaOperationTest, PaddingIsZero) {
  const Weights wide({64, 20}, 1), narrow({20, 64}, 2);
  Network network;
  Value h = network.graph.Map("in", network.FloatInput({9, 1, 20}), Nonlinearity::kNone);
  for (int i = 0; i < 3; ++i) {
    h = network.graph.Linear("wide", {.x = h, .matrix = &wide.parameter});
    h = network.graph.Linear("narrow", {.x = h, .matrix = &narrow.parameter});
    h = network.graph.Map("float", h, Nonlinearity::kNone, Element::kFloat);
    h = network.graph.Map("back", h, Nonlinearity::kNone);
  }
  network.Output(h);
  ExpectNearCpu(network, 4);
}

// The way a UNet uses its skips: made early, read by others first, then beside what came from
// below.
TEST_F(CudaOperationTest, ConcatenationsOfWhatIsMadeInPlaceAndWhatIsNot) {
  const Weights first({16, 16, 3, 3}, 1), second({24, 16, 3, 3}, 2), third({16, 40, 3, 3}, 3);
  Network network;
  Graph& graph = network.graph;
  const Value x = network.Input({6, 5, 16});
  const Value skip = graph.Conv("first", {.x = x, .filter = &first.parameter});
  const Value below = graph.Conv("second", {.x = skip, .filter = &second.parameter, .stride = 1});
  Value h = graph.Concat("concat", below, skip);
  h = graph.Conv("third", {.x = h, .filter = &third.parameter, .residual = skip});
  h = graph.Concat("again", h, skip);  // a part that lies elsewhere already
  network.Output(graph.Concat("odd", h, network.Input({6, 5, 8})));
  ExpectNearCpu(network, 2);
}

TEST_F(CudaOperationTest, ResidualsInPlaceAndNot) {
  const Weights matrix({32, 32}, 1);
  Network network;
  Graph& graph = network.graph;
  Value h = network.Input({21, 1, 32});
  for (int i = 0; i < 3; ++i) {
    const Value step = graph.Map("map", h, Nonlinearity::kSilu);
    h = graph.Linear("linear", {.x = step, .matrix = &matrix.parameter, .residual = h});
  }
  const Value twice = graph.Linear("twice", {.x = h, .matrix = &matrix.parameter, .residual = h});
  network.Output(graph.Concat("both", twice, h));
  ExpectNearCpu(network, 4);
}

TEST_F(CudaOperationTest, I4TwoProgramsTogetherHaveTheBitsOfTwoRuns) {
  const Weights scale({48}, 1), shift({48}, 2), filter({48, 48, 3, 3}, 3), qkv({144, 48}, 4);
  Network network;
  Graph& graph = network.graph;
  const Value x = network.Input({9, 7, 48});
  Value h = graph.GroupNorm(
      "norm", {.x = x, .scale = &scale.parameter, .shift = &shift.parameter, .groups = 4});
  h = graph.Conv("conv", {.x = h, .filter = &filter.parameter, .residual = x});
  h = graph.Linear("qkv", {.x = h, .matrix = &qkv.parameter});
  network.Output(graph.Attention("attention", {.q = Graph::Channels(h, 0, 48),
                                               .k = Graph::Channels(h, 48, 48),
                                               .v = Graph::Channels(h, 96, 48),
                                               .heads = 2}));
  const auto backend = MakeCudaBackend();
  ASSERT_TRUE(backend.ok()) << backend.status();
  std::vector<std::unique_ptr<Program>> programs;
  std::vector<std::vector<float>> alone, together;
  const auto read = [&](const Program& program) {
    std::vector<float> out(network.output.shape.size());
    program.Read(network.output, out);
    return out;
  };
  for (int seed = 1; seed <= 2; ++seed) {
    auto program = (*backend)->Compile(graph, Compute::kBf16);
    ASSERT_TRUE(program.ok()) << program.status();
    (*program)->Write(network.inputs[0], testing::RandomFloats(9 * 7 * 48, seed));
    (*program)->Run();
    alone.push_back(read(**program));
    programs.push_back(*std::move(program));
  }
  programs[0]->RunWith(*programs[1]);
  for (const auto& program : programs) together.push_back(read(*program));
  EXPECT_EQ(together, alone);
  EXPECT_NE(alone[0], alone[1]);
}

TEST_F(CudaOperationTest, ShapesThatNoKernelKnowsAreNamed) {
  Network network;
  const Value x = network.Input({4, 1, 1024});  // one head
  network.Output(network.graph.Attention("block.attention", {.q = x, .k = x, .v = x}));
  const auto backend = MakeCudaBackend();
  ASSERT_TRUE(backend.ok()) << backend.status();
  const auto program = (*backend)->Compile(network.graph, Compute::kBf16);
  EXPECT_EQ(program.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_NE(Message(program.status()).find("attention block.attention"), std::string::npos)
      << program.status();
  EXPECT_TRUE((*backend)->health().ok());
}

}  // namespace
}  // namespace tiltshift::engine
