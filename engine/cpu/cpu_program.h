// A graph compiled for the CPU: its steps, and one block of memory in which all of it happens.
#pragma once

#include <memory>
#include <vector>

#include "engine/backend.h"
#include "engine/cpu/aligned.h"
#include "engine/cpu/step.h"

namespace tiltshift::engine::cpu {

class CpuBuffer : public Buffer {
 public:
  explicit CpuBuffer(size_t bytes) : bytes(bytes), data(NewAligned(bytes)) {}
  const size_t bytes;
  const AlignedBytes data;
};

class CpuProgram : public Program {
 public:
  struct Options {
    dnnl::engine engine;
    PackedWeights* weights;
    const simd::Kernels* kernels;
    bool bf16, sparing;
    Products products;
    int threads;
  };
  // Only packs the graph's weights. May throw dnnl::error.
  static void Pack(const Graph& graph, const Options& options);
  // memory_bytes() of its program.
  static size_t PlannedBytes(const Graph& graph, const Options& options);
  // May throw dnnl::error. The weights must outlive the program.
  CpuProgram(const Graph& graph, const Options& options);

  void Write(const Value& input, std::span<const float> values) override;
  void Read(const Value& output, std::span<float> values) const override;
  absl::StatusOr<std::unique_ptr<Buffer>> Keep(const Value& output) const override;
  void Bind(const Value& input, const Buffer& buffer) override;
  size_t memory_bytes() const override { return plan_.bytes(); }
  void Run() override;
  void RunWith(Program& other) override;
  std::vector<OpProfile> Profile(int runs, Program* beside) override;
  std::vector<OpProfile> ProfileAlone(int runs) override;

 private:
  class PlanBinder;
  static std::vector<std::unique_ptr<Step>> MakeSteps(const Graph& graph, const Options& options, MemoryPlan* plan);
  char* At(const Value& value) const;
  size_t Bytes(const Value& value) const;
  std::vector<OpProfile> Costs() const;

  Graph graph_;
  MemoryPlan plan_;
  dnnl::stream stream_;
  std::vector<std::unique_ptr<Step>> steps_;
  AlignedBytes memory_;
  std::vector<char*> bases_;  // [tensors]: memory_, or the buffer that is bound
};

}  // namespace tiltshift::engine::cpu
