// A node of a graph on its way to running: planned, then bound to memory, then run many times.
#pragma once

#include <dnnl.hpp>
#include <memory>

#include "engine/backend.h"
#include "engine/cpu/memory_plan.h"
#include "engine/cpu/packed_weights.h"
#include "engine/cpu/simd/kernels.h"
#include "engine/graph.h"

namespace tiltshift::engine::cpu {

// Where a value lies. The base is looked up at each run: for a bound tensor it changes between
// runs.
struct Place {
  char* const* base = nullptr;
  size_t offset = 0;
  char* get() const { return *base + offset; }
};

// What steps are made from.
struct Setting {
  const Graph& graph;
  bool bf16;
  bool sparing;  // kFp32Sparing
  Products products;
  int threads;
  dnnl::engine engine;
  PackedWeights& weights;
  const simd::Kernels& kernels;
  const MemoryPlan& plan;  // InPlace may be asked from the start

  dnnl::memory::data_type type(Element element) const {
    return bf16 && element == Element::kActivation ? dnnl::memory::data_type::bf16
                                                   : dnnl::memory::data_type::f32;
  }
  size_t bytes(const Value& value) const { return plan.ElementBytes(graph.element(value)); }
  // Elements from a row to the next.
  int64_t stride(const Value& value) const { return graph.tensors()[value.tensor].shape.channels; }
};

// Answers where values lie, once memory is there.
class Binder {
 public:
  virtual ~Binder() = default;
  virtual Place Of(const Value& value) const = 0;
  virtual char* Scratch() const = 0;  // of the step that is being bound
};

class Step {
 public:
  virtual ~Step() = default;
  virtual size_t scratch_bytes() const { return 0; }
  // Of its output, where that is more than its shape says.
  virtual size_t output_bytes() const { return 0; }
  virtual void Bind(const Binder& binder) = 0;
  virtual void Run(const dnnl::stream& stream) = 0;
};

// One maker an operation; `node` is its place in the graph. They may throw dnnl::error.
std::unique_ptr<Step> MakeConv(const Setting& setting, const ConvOp& op, int node);
// On AMX tiles; null where that cannot be.
std::unique_ptr<Step> MakeAmxLinear(const Setting& setting, const LinearOp& op);
std::unique_ptr<Step> MakeAmxConv(const Setting& setting, const ConvOp& op);
// A tensor that a group norm or an upsampling makes for one such convolution: it lies there with its border (bordered.h).
bool WantsBorder(const Setting& setting, const Value& value);
std::unique_ptr<Step> MakeLinear(const Setting& setting, const LinearOp& op, int node);
// Of a large matrix where weights are spared; else null.
std::unique_ptr<Step> MakeSparingLinear(const Setting& setting, const LinearOp& op, int node);
// Where op.geglu; else null.
std::unique_ptr<Step> MakeGegluLinear(const Setting& setting, const LinearOp& op);
std::unique_ptr<Step> MakeGroupNorm(const Setting& setting, const GroupNormOp& op);
std::unique_ptr<Step> MakeMoments(const Setting& setting, const MomentsOp& op);
std::unique_ptr<Step> MakeLayerNorm(const Setting& setting, const LayerNormOp& op);
std::unique_ptr<Step> MakeAttention(const Setting& setting, const AttentionOp& op);
std::unique_ptr<Step> MakeAmxAttention(const Setting& setting, const AttentionOp& op);
std::unique_ptr<Step> MakeGeglu(const Setting& setting, const GegluOp& op);
std::unique_ptr<Step> MakeMap(const Setting& setting, const MapOp& op);
std::unique_ptr<Step> MakeConcat(const Setting& setting, const ConcatOp& op);
std::unique_ptr<Step> MakeUpsample(const Setting& setting, const UpsampleOp& op);
std::unique_ptr<Step> MakeFromPlanar(const Setting& setting, const FromPlanarOp& op);
std::unique_ptr<Step> MakeToPlanar(const Setting& setting, const ToPlanarOp& op);

simd::Function ToSimd(Nonlinearity nonlinearity);

}  // namespace tiltshift::engine::cpu
