// Convolutions through oneDNN's direct algorithm. Its Winograd is never asked for: it changes with the number
// of threads.
#include <cstring>

#include "engine/cpu/dnnl_step.h"
#include "engine/cpu/dnnl_version.h"
#include "engine/cpu/parallel.h"

namespace tiltshift::engine::cpu {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;

class ConvStep : public DnnlStep {
 public:
  ConvStep(const Setting& setting, const ConvOp& op, bool in_place)
      : DnnlStep(setting), op_(op), in_place_(in_place), threads_(setting.threads) {
    const Shape& in = op.x.shape;
    const Shape& out = op.y.shape;
    const int kernel = static_cast<int>(op.filter->shape[2]);
    const memory::dims filter = {out.channels, in.channels, kernel, kernel};
    const memory::dims strides = {op.stride, op.stride};
    const memory::dim after = kernel / 2, before = op.pad_end ? 0 : after;

    x_ = memory::desc({1, in.channels, in.height, in.width}, setting.type(setting.graph.element(op.x)),
                      Tag::nhwc);
    y_ = memory::desc({1, out.channels, out.height, out.width}, setting.type(setting.graph.element(op.y)),
                      Tag::nhwc);
    has_bias_ = op.bias != nullptr || op.row_bias;
    if (has_bias_) bias_ = memory::desc({out.channels}, memory::data_type::f32, Tag::x);
    const memory::desc any(filter, setting.type(Element::kActivation), Tag::any);
    dnnl::post_ops post_ops;
    // Summing into y is the one form of residual that oneDNN's fastest (brgemm) convolutions take.
    if (op.residual) post_ops.append_sum();
    const auto plan = PlanOf<dnnl::convolution_forward>(
        engine_, Attributes(post_ops), dnnl::prop_kind::forward_inference,
        dnnl::algorithm::convolution_direct, x_, any, bias_, y_, strides, memory::dims{before, before},
        memory::dims{after, after});
    SetPrimitive(dnnl::convolution_forward(plan), plan.scratchpad_desc(), plan.impl_info_str());

    const memory::desc plain(filter, memory::data_type::f32, Tag::oihw);
    AddArgument(DNNL_ARG_WEIGHTS, setting.weights.Packed(*op.filter, plain, plan.weights_desc()));
    if (!op.row_bias && has_bias_) bias_data_ = setting.weights.Floats(*op.bias);
  }

  void Bind(const Binder& binder) override {
    y_place_ = binder.Of(op_.y);
    AddArgument(DNNL_ARG_SRC, x_, binder.Of(op_.x).get());
    AddArgument(DNNL_ARG_DST, y_, y_place_.get());
    const void* bias = op_.row_bias ? binder.Of(*op_.row_bias).get() : static_cast<const void*>(bias_data_);
    if (has_bias_) AddArgument(DNNL_ARG_BIAS, bias_, const_cast<void*>(bias));
    if (op_.residual && !in_place_) residual_ = binder.Of(*op_.residual);
    AddScratch(binder);
  }

  void Run(const dnnl::stream& stream) override {
    if (residual_.base != nullptr) {
      const int64_t bytes = static_cast<int64_t>(y_.get_size());
      const int64_t part = (bytes + threads_ - 1) / threads_;
      ParallelFor(threads_, threads_, [&](int64_t i, int) {
        const int64_t count = std::min(part, bytes - i * part);
        if (count > 0) std::memcpy(y_place_.get() + i * part, residual_.get() + i * part, count);
      });
    }
    Execute(stream);
  }

 private:
  ConvOp op_;
  bool in_place_;
  int threads_;
  memory::desc x_, y_, bias_;
  const float* bias_data_ = nullptr;
  bool has_bias_ = true;
  Place y_place_, residual_;
};

}  // namespace

std::unique_ptr<Step> MakeConv(const Setting& setting, const ConvOp& op, int node) {
  if (std::unique_ptr<Step> step = MakeAmxConv(setting, op)) return step;
  return std::make_unique<ConvStep>(setting, op, setting.plan.InPlace(node));
}

}  // namespace tiltshift::engine::cpu
