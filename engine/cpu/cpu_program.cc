#include "engine/cpu/cpu_program.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/check.h"

namespace tiltshift::engine::cpu {
namespace {

struct StepMaker {
  const Setting& setting;
  int node;

  std::unique_ptr<Step> operator()(const ConvOp& op) const { return MakeConv(setting, op, node); }
  std::unique_ptr<Step> operator()(const LinearOp& op) const {
    return MakeLinear(setting, op, node);
  }
  std::unique_ptr<Step> operator()(const GroupNormOp& op) const {
    return MakeGroupNorm(setting, op);
  }
  std::unique_ptr<Step> operator()(const MomentsOp& op) const { return MakeMoments(setting, op); }
  std::unique_ptr<Step> operator()(const LayerNormOp& op) const {
    return MakeLayerNorm(setting, op);
  }
  std::unique_ptr<Step> operator()(const AttentionOp& op) const {
    return MakeAttention(setting, op);
  }
  std::unique_ptr<Step> operator()(const GegluOp& op) const { return MakeGeglu(setting, op); }
  std::unique_ptr<Step> operator()(const MapOp& op) const { return MakeMap(setting, op); }
  std::unique_ptr<Step> operator()(const ConcatOp& op) const { return MakeConcat(setting, op); }
  std::unique_ptr<Step> operator()(const UpsampleOp& op) const { return MakeUpsample(setting, op); }
  std::unique_ptr<Step> operator()(const FromPlanarOp& op) const {
    return MakeFromPlanar(setting, op);
  }
  std::unique_ptr<Step> operator()(const ToPlanarOp& op) const { return MakeToPlanar(setting, op); }
};

Setting SettingOf(const Graph& graph, const CpuProgram::Options& options, const MemoryPlan& plan) {
  return {graph,
          options.bf16,
          options.sparing,
          options.products,
          options.threads,
          options.engine,
          *options.weights,
          *options.kernels,
          plan};
}

// GEGLU within its matrix product.
Graph Folded(Graph graph) {
  graph.FoldGeglu();
  return graph;
}

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

class CpuProgram::PlanBinder : public Binder {
 public:
  PlanBinder(const CpuProgram& program, int node) : program_(program), node_(node) {}
  Place Of(const Value& value) const override {
    const TensorInfo& info = program_.graph_.tensors()[value.tensor];
    const size_t at = value.channel * program_.plan_.ElementBytes(info.element);
    const size_t base = info.bound ? 0 : program_.plan_.TensorOffset(value.tensor);
    return {&program_.bases_[value.tensor], base + at};
  }
  char* Scratch() const override {
    return program_.memory_.get() + program_.plan_.ScratchOffset(node_);
  }

 private:
  const CpuProgram& program_;
  int node_;
};

// Decides the plan's every offset as well.
std::vector<std::unique_ptr<Step>> CpuProgram::MakeSteps(const Graph& graph, const Options& options,
                                                         MemoryPlan* plan) {
  const Setting setting = SettingOf(graph, options, *plan);
  std::vector<std::unique_ptr<Step>> steps;
  for (const Node& node : graph.nodes()) {
    const int i = static_cast<int>(steps.size());
    steps.push_back(std::visit(StepMaker{setting, i}, node.op));
    plan->AddScratch(i, steps[i]->scratch_bytes());
    plan->Enlarge(OutputOf(node.op).tensor, steps[i]->output_bytes());
  }
  plan->Place();
  return steps;
}

void CpuProgram::Pack(const Graph& graph, const Options& options) {
  (void)PlannedBytes(graph, options);
}

size_t CpuProgram::PlannedBytes(const Graph& graph, const Options& options) {
  const Graph folded = Folded(graph);
  MemoryPlan plan(folded, options.bf16 ? 2 : 4);
  (void)MakeSteps(folded, options, &plan);
  return plan.bytes();
}

CpuProgram::CpuProgram(const Graph& graph, const Options& options)
    : graph_(Folded(graph)), plan_(graph_, options.bf16 ? 2 : 4), stream_(options.engine) {
  steps_ = MakeSteps(graph_, options, &plan_);
  memory_ = NewZeroed(plan_.bytes());
  if (memory_ == nullptr) throw dnnl::error(dnnl_out_of_memory, "activations");
  bases_.assign(graph_.tensors().size(), memory_.get());
  for (size_t t = 0; t < bases_.size(); ++t) {
    if (graph_.tensors()[t].bound) bases_[t] = nullptr;
  }
  for (size_t i = 0; i < steps_.size(); ++i)
    steps_[i]->Bind(PlanBinder(*this, static_cast<int>(i)));
}

size_t CpuProgram::Bytes(const Value& value) const {
  return value.shape.size() * plan_.ElementBytes(graph_.element(value));
}

char* CpuProgram::At(const Value& value) const { return PlanBinder(*this, 0).Of(value).get(); }

void CpuProgram::Write(const Value& input, std::span<const float> values) {
  TS_CHECK(graph_.tensors()[input.tensor].written && graph_.element(input) == Element::kFloat);
  TS_CHECK(values.size_bytes() == Bytes(input));
  std::memcpy(At(input), values.data(), values.size_bytes());
}

void CpuProgram::Read(const Value& output, std::span<float> values) const {
  TS_CHECK(graph_.tensors()[output.tensor].read && graph_.element(output) == Element::kFloat);
  TS_CHECK(values.size_bytes() == Bytes(output));
  std::memcpy(values.data(), At(output), values.size_bytes());
}

absl::StatusOr<std::unique_ptr<Buffer>> CpuProgram::Keep(const Value& output) const {
  TS_CHECK(graph_.tensors()[output.tensor].read);
  auto buffer = std::make_unique<CpuBuffer>(Bytes(output));
  if (buffer->data == nullptr)
    return absl::ResourceExhaustedError("not enough memory for a prompt");
  std::memcpy(buffer->data.get(), At(output), buffer->bytes);
  return buffer;
}

void CpuProgram::Bind(const Value& input, const Buffer& buffer) {
  const auto& bytes = dynamic_cast<const CpuBuffer&>(buffer);
  TS_CHECK(graph_.tensors()[input.tensor].bound && bytes.bytes == Bytes(input));
  bases_[input.tensor] = bytes.data.get();
}

void CpuProgram::Run() {
  for (const std::unique_ptr<Step>& step : steps_) step->Run(stream_);
}

void CpuProgram::RunWith(Program& other) {
  auto& beside = dynamic_cast<CpuProgram&>(other);
  TS_CHECK(beside.steps_.size() == steps_.size());
  for (size_t i = 0; i < steps_.size(); ++i) {
    steps_[i]->Run(stream_);
    beside.steps_[i]->Run(stream_);
  }
}

std::vector<OpProfile> CpuProgram::Costs() const {
  std::vector<OpProfile> costs;
  for (const Node& node : graph_.nodes()) {
    costs.push_back({KindOf(node.op), node.name, FlopsOf(node.op), 1e9});
  }
  return costs;
}

std::vector<OpProfile> CpuProgram::Profile(int runs, Program* beside) {
  std::vector<OpProfile> costs = Costs();
  auto* other = dynamic_cast<CpuProgram*>(beside);
  for (int run = 0; run < runs; ++run) {
    double before = Seconds();
    for (size_t i = 0; i < steps_.size(); ++i) {
      steps_[i]->Run(stream_);
      if (other != nullptr) other->steps_[i]->Run(stream_);
      const double after = Seconds();
      costs[i].seconds = std::min(costs[i].seconds, (after - before) / (other != nullptr ? 2 : 1));
      before = after;
    }
  }
  return costs;
}

std::vector<OpProfile> CpuProgram::ProfileAlone(int runs) {
  std::vector<OpProfile> costs = Costs();
  for (size_t i = 0; i < steps_.size(); ++i) {
    for (int run = 0; run < runs; ++run) {
      const double before = Seconds();
      steps_[i]->Run(stream_);
      costs[i].seconds = std::min(costs[i].seconds, Seconds() - before);
    }
  }
  return costs;
}

}  // namespace tiltshift::engine::cpu
