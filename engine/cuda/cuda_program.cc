#include "engine/cuda/cuda_program.h"

#include <algorithm>
#include <array>
#include <atomic>

#include "base/check.h"

namespace tiltshift::engine::cuda {
namespace {

uint64_t NextId() {
  static std::atomic<uint64_t> next = 1;
  return next++;
}

}  // namespace

CardBuffer::CardBuffer(DeviceBytes data, size_t bytes)
    : data(std::move(data)), bytes(bytes), id(NextId()) {}

CudaProgram::CudaProgram(const Graph& graph, Card& card, CardWeights& weights, HostSide side)
    : graph_(graph), card_(card), weights_(weights), id_(NextId()), side_(std::move(side)) {}

absl::StatusOr<std::unique_ptr<CudaProgram>> CudaProgram::New(const Graph& graph, Card& card,
                                                              CardWeights& weights) {
  TS_ASSIGN_OR_RETURN(HostSide side, HostSide::New(graph));
  std::unique_ptr<CudaProgram> program(new CudaProgram(graph, card, weights, std::move(side)));
  const std::array<const HostSide*, 1> sides = {&program->side_};
  TS_ASSIGN_OR_RETURN(program->alone_, CardForward::New(program->graph_, weights, sides));
  program->last_ = program->alone_;
  return program;
}

void CudaProgram::Write(const Value& input, std::span<const float> values) {
  TS_CHECK(graph_.tensors()[input.tensor].written && graph_.element(input) == Element::kFloat);
  const std::span<float> to = side_.Of(input);
  TS_CHECK(values.size() == to.size());
  std::copy(values.begin(), values.end(), to.begin());
}

void CudaProgram::Read(const Value& output, std::span<float> values) const {
  TS_CHECK(graph_.tensors()[output.tensor].read && graph_.element(output) == Element::kFloat);
  const std::span<float> from = side_.Of(output);
  TS_CHECK(values.size() == from.size());
  std::copy(from.begin(), from.end(), values.begin());
}

absl::StatusOr<std::unique_ptr<Buffer>> CudaProgram::Keep(const Value& output) const {
  TS_CHECK(graph_.tensors()[output.tensor].read);
  TS_RETURN_IF_ERROR(card_.health());
  const size_t bytes = last_->BytesOf(output);
  TS_ASSIGN_OR_RETURN(DeviceBytes data, DeviceBytes::New(bytes));
  const absl::Status copied = last_->CopyOut(output, last_sample_, data.get());
  card_.Note(copied);
  TS_RETURN_IF_ERROR(copied);
  return std::make_unique<CardBuffer>(std::move(data), bytes);
}

void CudaProgram::Bind(const Value& input, const Buffer& buffer) {
  const auto& bytes = dynamic_cast<const CardBuffer&>(buffer);
  TS_CHECK(graph_.tensors()[input.tensor].bound && bytes.bytes == alone_->BytesOf(input));
  bound_[input.tensor] = &bytes;
}

// False: that failed, and the card knows.
bool CudaProgram::BindAll(CardForward& forward, int sample) const {
  for (const auto& [tensor, buffer] : bound_) {
    const Value value = {tensor, 0, graph_.tensors()[tensor].shape};
    const absl::Status status = forward.Bind(value, sample, buffer->data.get(), buffer->id);
    card_.Note(status);
    if (!status.ok()) return false;
  }
  return true;
}

void CudaProgram::Run() {
  last_ = alone_;
  last_sample_ = 0;
  if (card_.health().ok() && BindAll(*alone_, 0)) card_.Note(alone_->Run());
}

CardForward* CudaProgram::PairWith(const CudaProgram& other) {
  if (paired_with_ == other.id_) return pair_.get();
  const std::array<const HostSide*, 2> sides = {&side_, &other.side_};
  auto pair = CardForward::New(graph_, weights_, sides);
  paired_with_ = other.id_;
  pair_ = pair.ok() ? *std::move(pair) : nullptr;
  return pair_.get();
}

void CudaProgram::RunWith(Program& other) {
  auto& beside = dynamic_cast<CudaProgram&>(other);
  if (!card_.health().ok()) return;
  CardForward* pair = PairWith(beside);
  if (pair == nullptr) {
    Run();
    beside.Run();
    return;
  }
  last_ = beside.last_ = pair_;
  last_sample_ = 0;
  beside.last_sample_ = 1;
  if (BindAll(*pair, 0) && beside.BindAll(*pair, 1)) card_.Note(pair->Run());
}

std::vector<OpProfile> CudaProgram::Costs(CardForward& forward, int runs, bool alone,
                                          int samples) const {
  std::vector<OpProfile> costs;
  const absl::StatusOr<std::vector<double>> seconds = forward.Profile(runs, alone);
  card_.Note(seconds.status());
  for (size_t i = 0; i < graph_.nodes().size(); ++i) {
    const Node& node = graph_.nodes()[i];
    costs.push_back({KindOf(node.op), node.name, FlopsOf(node.op),
                     seconds.ok() ? (*seconds)[i] / samples : 0.0});
  }
  return costs;
}

std::vector<OpProfile> CudaProgram::Profile(int runs, Program* beside) {
  if (beside != nullptr) {
    RunWith(*beside);
    if (pair_ != nullptr) return Costs(*pair_, runs, false, 2);
  }
  return Costs(*alone_, runs, false, 1);
}

std::vector<OpProfile> CudaProgram::ProfileAlone(int runs) { return Costs(*alone_, runs, true, 1); }

}  // namespace tiltshift::engine::cuda
