// Small graphs, run on the backends and compared.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "engine/backend.h"

namespace tiltshift::engine::testing {

// In -1..1, by seed.
std::vector<float> RandomFloats(int64_t count, int seed);

// A parameter with random values of its own.
struct Weights {
  Weights(std::vector<int64_t> shape, int seed);
  std::vector<float> values;
  Parameter parameter;
};

// A graph whose inputs are planar fp32, as latents are.
struct Network {
  Graph graph;
  std::vector<Value> inputs;
  Value output;

  Value Input(Shape shape);
  Value FloatInput(Shape shape);  // as it is written
  void Output(const Value& y);
};

// What the network makes of random inputs; input i is RandomFloats of seed first_seed + i.
std::vector<float> Run(Backend& backend, const Network& network, Compute compute,
                       int first_seed = 100);
std::vector<float> RunOnCpu(const Network& network);
std::vector<float> RunOnCuda(const Network& network, Compute compute);

// Relative L2 distance.
double Distance(const std::vector<float>& a, const std::vector<float>& b);

// Skipped where the build is for a card and none is here.
class CudaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!FindCudaCard().ok()) GTEST_SKIP() << FindCudaCard().status();
  }
};

}  // namespace tiltshift::engine::testing
