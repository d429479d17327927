#include "engine/testing/backend_case.h"

#include <cmath>
#include <random>

namespace tiltshift::engine::testing {

std::vector<float> RandomFloats(int64_t count, int seed) {
  std::mt19937 bits(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(count);
  for (float& value : values) value = uniform(bits);
  return values;
}

Weights::Weights(std::vector<int64_t> shape, int seed) {
  int64_t count = 1;
  for (const int64_t n : shape) count *= n;
  values = RandomFloats(count, seed);
  const std::string_view bytes(reinterpret_cast<const char*>(values.data()), count * sizeof(float));
  parameter = {.name = "weights", .shape = shape, .parts = {{Dtype::kF32, shape, bytes}}};
}

Value Network::FloatInput(Shape shape) {
  inputs.push_back(graph.Input(shape, Element::kFloat));
  return inputs.back();
}
Value Network::Input(Shape shape) { return graph.FromPlanar("in", FloatInput(shape), 1, 0); }

void Network::Output(const Value& y) {
  output = graph.ToPlanar("out", y);
  graph.Output(output);
}

std::vector<float> Run(Backend& backend, const Network& network, Compute compute, int first_seed) {
  const auto program = backend.Compile(network.graph, compute);
  EXPECT_TRUE(program.ok()) << program.status();
  std::vector<float> out(network.output.shape.size());
  if (!program.ok()) return out;
  for (const Value& input : network.inputs) {
    (*program)->Write(input, RandomFloats(input.shape.size(), first_seed++));
  }
  for (int run = 0; run < 2; ++run) {  // the second in memory that the first has used
    (*program)->Run();
    (*program)->Read(network.output, out);
  }
  EXPECT_TRUE(backend.health().ok()) << backend.health();
  return out;
}

std::vector<float> RunOnCpu(const Network& network) {
  return Run(*MakeCpuBackend(), network, Compute::kFp32);
}

std::vector<float> RunOnCuda(const Network& network, Compute compute) {
  const auto backend = MakeCudaBackend();
  EXPECT_TRUE(backend.ok()) << backend.status();
  return Run(**backend, network, compute);
}

double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return std::sqrt(difference / norm);
}

}  // namespace tiltshift::engine::testing
