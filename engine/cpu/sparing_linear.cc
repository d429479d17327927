// Linear layers of what runs once a prompt or once a run of the sampler, in fp32 from weights that
// stay in the model's files: a block of the matrix's rows is converted, packed, multiplied and
// forgotten. The packed copy that this saves is twice the size of an fp16 file; converting takes a
// prompt of Stable Diffusion 1.5 some tens of milliseconds.
#include <algorithm>

#include "base/check.h"
#include "engine/cpu/dnnl_post_ops.h"
#include "engine/cpu/dnnl_step.h"
#include "engine/cpu/dnnl_version.h"
#include "engine/cpu/parallel.h"

namespace tiltshift::engine::cpu {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;

constexpr int64_t kBlockBytes = int64_t{4} << 20;
constexpr int64_t kRowsTogether = 64;
constexpr int64_t kLeastBytes = int64_t{1} << 20;  // smaller ones are packed and kept

// Rows [first, first + count) of the matrix, which are columns of y.
class Block : public DnnlStep {
 public:
  Block(const Setting& setting, const LinearOp& op, bool in_place, int64_t first, int64_t count)
      : DnnlStep(setting),
        op_(op),
        in_place_(in_place),
        first_(first),
        count_(count),
        stream_(setting.engine) {
    const memory::dim rows = op.x.shape.rows(), in = op.x.shape.channels;
    const auto f32 = memory::data_type::f32;
    x_ = memory::desc({rows, in}, f32, memory::dims{setting.stride(op.x), 1});
    y_ = memory::desc({rows, count}, f32, memory::dims{op.y.shape.channels, 1});
    bias_ = memory::desc({1, count}, f32, Tag::ab);
    dnnl::post_ops post_ops;
    AppendNonlinearity(op.nonlinearity, &post_ops);
    if (op.residual && in_place) post_ops.append_sum();
    if (op.residual && !in_place) {
      residual_ = memory::desc({rows, count}, f32, memory::dims{setting.stride(*op.residual), 1});
      residual_index_ = post_ops.len();
      post_ops.append_binary(dnnl::algorithm::binary_add, residual_);
    }
    const memory::desc any({in, count}, f32, Tag::any);
    const dnnl::primitive_attr attributes = Attributes(post_ops);
    const auto plan = op.bias != nullptr
                          ? PlanOf<dnnl::matmul>(engine_, attributes, x_, any, bias_, y_)
                          : PlanOf<dnnl::matmul>(engine_, attributes, x_, any, y_);
    SetPrimitive(dnnl::matmul(plan), plan.scratchpad_desc(), plan.impl_info_str());
    plain_ = memory::desc({in, count}, f32, Tag::ba);
    packed_ = plan.weights_desc();
    if (op.bias != nullptr) {
      AddArgument(DNNL_ARG_BIAS, bias_,
                  const_cast<float*>(setting.weights.Floats(*op.bias)) + first);
    }
  }

  size_t scratch_bytes() const override {
    return PlainBytes() + PackedBytes() + DnnlStep::scratch_bytes();
  }

  void Bind(const Binder& binder) override {
    floats_ = reinterpret_cast<float*>(binder.Scratch());
    from_ = memory(plain_, engine_, floats_);
    to_ = memory(packed_, engine_, binder.Scratch() + PlainBytes());
    pack_ = dnnl::reorder(from_, to_);
    AddArgument(DNNL_ARG_WEIGHTS, to_);
    const auto column = [&](const Value& value) {
      return binder.Of(value).get() + first_ * sizeof(float);
    };
    AddArgument(DNNL_ARG_SRC, x_, binder.Of(op_.x).get());
    AddArgument(DNNL_ARG_DST, y_, column(op_.y));
    if (op_.residual && !in_place_) {
      AddArgument(DNNL_ARG_ATTR_MULTIPLE_POST_OP(residual_index_) | DNNL_ARG_SRC_1, residual_,
                  column(*op_.residual));
    }
    if (DnnlStep::scratch_bytes() > 0)
      AddScratchAt(binder.Scratch() + PlainBytes() + PackedBytes());
  }

  void Run(const dnnl::stream& stream) override {
    const int64_t in = op_.x.shape.channels;
    ParallelFor(count_ / kRowsTogether + 1, omp_get_max_threads(), [&](int64_t part, int) {
      const int64_t row = part * kRowsTogether, rows = std::min(kRowsTogether, count_ - row);
      if (rows > 0)
        op_.matrix->CopyRows(first_ + row, {floats_ + row * in, static_cast<size_t>(rows * in)});
    });
    pack_.execute(stream_, from_, to_);
    stream_.wait();
    Execute(stream);
  }

 private:
  size_t PlainBytes() const { return Align(plain_.get_size()); }
  size_t PackedBytes() const { return Align(packed_.get_size()); }

  LinearOp op_;
  bool in_place_;
  int64_t first_, count_;
  int residual_index_ = 0;
  dnnl::stream stream_;
  memory::desc x_, y_, bias_, residual_, plain_, packed_;
  memory from_, to_;
  dnnl::reorder pack_;
  float* floats_ = nullptr;
};

class SparingLinearStep : public Step {
 public:
  SparingLinearStep(const Setting& setting, const LinearOp& op, bool in_place)
      : matrix_(*op.matrix) {
    const int64_t out = op.y.shape.channels, in = op.x.shape.channels,
                  row_bytes = in * sizeof(float);
    const int64_t most =
        std::max(kRowsTogether, kBlockBytes / row_bytes / kRowsTogether * kRowsTogether);
    for (int64_t first = 0; first < out; first += most) {
      blocks_.push_back(
          std::make_unique<Block>(setting, op, in_place, first, std::min(most, out - first)));
    }
  }
  size_t scratch_bytes() const override {
    size_t most = 0;
    for (const auto& block : blocks_) most = std::max(most, block->scratch_bytes());
    return most;
  }
  void Bind(const Binder& binder) override {
    for (const auto& block : blocks_) block->Bind(binder);
  }
  void Run(const dnnl::stream& stream) override {
    for (const auto& block : blocks_) block->Run(stream);
    matrix_.Release();
  }

 private:
  const Parameter& matrix_;
  std::vector<std::unique_ptr<Block>> blocks_;
};

}  // namespace

std::unique_ptr<Step> MakeSparingLinear(const Setting& setting, const LinearOp& op, int node) {
  const bool large = op.matrix->elements() * static_cast<int64_t>(sizeof(float)) >= kLeastBytes;
  if (!setting.sparing || !large || op.geglu) return nullptr;
  return std::make_unique<SparingLinearStep>(setting, op, setting.plan.InPlace(node));
}

}  // namespace tiltshift::engine::cpu
