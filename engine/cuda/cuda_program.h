// A graph compiled for the card.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "engine/backend.h"
#include "engine/cuda/card_forward.h"

namespace tiltshift::engine::cuda {

class CardBuffer : public Buffer {
 public:
  CardBuffer(DeviceBytes data, size_t bytes);
  const DeviceBytes data;
  const size_t bytes;
  const uint64_t id;  // no other buffer of the process has or had it
};

class CudaProgram : public Program {
 public:
  // `card` and `weights` must outlive the program.
  static absl::StatusOr<std::unique_ptr<CudaProgram>> New(const Graph& graph, Card& card,
                                                          CardWeights& weights);

  size_t memory_bytes() const override { return alone_->memory_bytes(); }
  void Write(const Value& input, std::span<const float> values) override;
  void Read(const Value& output, std::span<float> values) const override;
  absl::StatusOr<std::unique_ptr<Buffer>> Keep(const Value& output) const override;
  void Bind(const Value& input, const Buffer& buffer) override;
  void Run() override;
  // As one forward of two samples; one after the other where the card has no memory for that.
  void RunWith(Program& other) override;
  std::vector<OpProfile> Profile(int runs, Program* beside) override;
  std::vector<OpProfile> ProfileAlone(int runs) override;

 private:
  CudaProgram(const Graph& graph, Card& card, CardWeights& weights, HostSide side);
  CardForward* PairWith(const CudaProgram& other);
  bool BindAll(CardForward& forward, int sample) const;
  std::vector<OpProfile> Costs(CardForward& forward, int runs, bool alone, int samples) const;

  const Graph graph_;
  Card& card_;
  CardWeights& weights_;
  const uint64_t id_;
  const HostSide side_;
  std::map<int, const CardBuffer*> bound_;
  // Shared: a pair's outputs are two programs'.
  std::shared_ptr<CardForward> alone_, pair_, last_;  // last_: where the last run's outputs are
  uint64_t paired_with_ = 0;                          // the other program's id; 0: none yet
  int last_sample_ = 0;
};

}  // namespace tiltshift::engine::cuda
