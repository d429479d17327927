// Linear layers through oneDNN's matmul: rows of activations times a packed matrix.
#include "engine/cpu/dnnl_post_ops.h"
#include "engine/cpu/dnnl_step.h"
#include "engine/cpu/dnnl_version.h"

namespace tiltshift::engine::cpu {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;

class LinearStep : public DnnlStep {
 public:
  LinearStep(const Setting& setting, const LinearOp& op, bool in_place)
      : DnnlStep(setting), op_(op), in_place_(in_place) {
    const memory::dim rows = op.x.shape.rows();
    const memory::dim in = op.x.shape.channels;
    const memory::dim out = op.y.shape.channels;
    const auto type = [&](const Value& value) { return setting.type(setting.graph.element(value)); };
    x_ = memory::desc({rows, in}, type(op.x), memory::dims{setting.stride(op.x), 1});
    y_ = memory::desc({rows, out}, type(op.y), Tag::ab);
    bias_ = memory::desc({1, out}, memory::data_type::f32, Tag::ab);
    const memory::desc any({in, out}, setting.type(Element::kActivation), Tag::any);

    dnnl::post_ops post_ops;
    AppendNonlinearity(op.nonlinearity, &post_ops);
    if (op.residual && in_place) post_ops.append_sum();
    if (op.residual && !in_place) {
      residual_ = memory::desc({rows, out}, type(*op.residual),
                               memory::dims{setting.stride(*op.residual), 1});
      residual_index_ = post_ops.len();
      post_ops.append_binary(dnnl::algorithm::binary_add, residual_);
    }
    const dnnl::primitive_attr attributes = Attributes(post_ops);
    const auto plan = op.bias != nullptr ? PlanOf<dnnl::matmul>(engine_, attributes, x_, any, bias_, y_)
                                         : PlanOf<dnnl::matmul>(engine_, attributes, x_, any, y_);
    SetPrimitive(dnnl::matmul(plan), plan.scratchpad_desc(), plan.impl_info_str());

    const memory::desc plain({in, out}, memory::data_type::f32, Tag::ba);
    AddArgument(DNNL_ARG_WEIGHTS, setting.weights.Packed(*op.matrix, plain, plan.weights_desc()));
    if (op.bias != nullptr) {
      AddArgument(DNNL_ARG_BIAS, bias_, const_cast<float*>(setting.weights.Floats(*op.bias)));
    }
  }

  void Bind(const Binder& binder) override {
    AddArgument(DNNL_ARG_SRC, x_, binder.Of(op_.x).get());
    AddArgument(DNNL_ARG_DST, y_, binder.Of(op_.y).get());
    if (op_.residual && !in_place_) {
      AddArgument(DNNL_ARG_ATTR_MULTIPLE_POST_OP(residual_index_) | DNNL_ARG_SRC_1, residual_,
                  binder.Of(*op_.residual).get());
    }
    AddScratch(binder);
  }

  void Run(const dnnl::stream& stream) override { Execute(stream); }

 private:
  LinearOp op_;
  bool in_place_;
  int residual_index_ = 0;
  memory::desc x_, y_, bias_, residual_;
};

}  // namespace

std::unique_ptr<Step> MakeLinear(const Setting& setting, const LinearOp& op, int node) {
  if (std::unique_ptr<Step> step = MakeSparingLinear(setting, op, node)) return step;
  if (std::unique_ptr<Step> step = MakeAmxLinear(setting, op)) return step;
  if (std::unique_ptr<Step> step = MakeGegluLinear(setting, op)) return step;
  return std::make_unique<LinearStep>(setting, op, setting.plan.InPlace(node));
}

}  // namespace tiltshift::engine::cpu
