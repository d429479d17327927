// The small operations between products, norms and attention.
#include "engine/cuda/card_steps.h"
#include "kernels/elementwise.h"
#include "kernels/upsample.h"

namespace tiltshift::engine::cuda {
namespace {

kernels::Mapping ToMapping(Nonlinearity nonlinearity) {
  switch (nonlinearity) {
    case Nonlinearity::kNone:
      return kernels::Mapping::kNone;
    case Nonlinearity::kSilu:
      return kernels::Mapping::kSilu;
    case Nonlinearity::kGelu:
      return kernels::Mapping::kGelu;
    case Nonlinearity::kQuickGelu:
      return kernels::Mapping::kQuickGelu;
    case Nonlinearity::kRelu:
      return kernels::Mapping::kRelu;
    case Nonlinearity::kSoftClamp:
      return kernels::Mapping::kSoftClamp;
  }
  return kernels::Mapping::kNone;
}

template <class T>
class OtherMaker {
 public:
  OtherMaker(const Setting& setting, int node, std::vector<Step>& steps)
      : setting_(setting), node_(node), steps_(steps) {}

  absl::Status operator()(const GroupNormOp& op) const {
    TS_RETURN_IF_ERROR(AddNorm<T>(setting_, op, node_, steps_));
    const bool with_it =
        op.nonlinearity == Nonlinearity::kNone || op.nonlinearity == Nonlinearity::kSilu;
    if (!with_it) AddMap(op.y, op.y, op.nonlinearity);
    return absl::OkStatus();
  }
  absl::Status operator()(const MomentsOp& op) const {
    AddMoments<T>(setting_, op, node_, steps_);
    return absl::OkStatus();
  }
  absl::Status operator()(const LayerNormOp& op) const {
    return AddNorm<T>(setting_, op, node_, steps_);
  }
  absl::Status operator()(const AttentionOp& op) const {
    return AddAttention<T>(setting_, op, node_, steps_);
  }

  absl::Status operator()(const GegluOp& op) const {
    const kernels::GegluArguments<T> p = {.rows = setting_.rows(op.y),
                                          .channels = op.y.shape.channels,
                                          .x = setting_.At<const T>(op.x),
                                          .x_stride = setting_.layout.Stride(op.x),
                                          .y = setting_.At<T>(op.y),
                                          .y_stride = setting_.layout.Stride(op.y)};
    ClearPadding(op.y);
    Add([p](cudaStream_t stream) { return kernels::Geglu<T>(stream, p); });
    return absl::OkStatus();
  }
  absl::Status operator()(const MapOp& op) const {
    ClearPadding(op.y);
    AddMap(op.x, op.y, op.nonlinearity);
    return absl::OkStatus();
  }

  absl::Status operator()(const ConcatOp& op) const {
    if (op.y.shape.channels % kChannelPiece != 0) {
      return absl::UnimplementedError("a concatenation to channels that are no multiple of 8");
    }
    int channel = 0;
    for (const Value* part : {&op.a, &op.b}) {
      const Value to = Graph::Channels(op.y, channel, part->shape.channels);
      if (!setting_.layout.SamePlace(*part, to)) {
        AddMap(*part, to, Nonlinearity::kNone);
      }
      channel += part->shape.channels;
    }
    return absl::OkStatus();
  }

  absl::Status operator()(const UpsampleOp& op) const {
    const kernels::UpsampleArguments<T> p = {.batch = setting_.layout.batch(),
                                             .height = op.x.shape.height,
                                             .width = op.x.shape.width,
                                             .out_height = op.y.shape.height,
                                             .out_width = op.y.shape.width,
                                             .channels = PaddedChannels(op.x.shape.channels),
                                             .x = setting_.At<const T>(op.x),
                                             .x_stride = setting_.layout.Stride(op.x),
                                             .y = setting_.At<T>(op.y),
                                             .y_stride = setting_.layout.Stride(op.y)};
    Add([p](cudaStream_t stream) { return kernels::Upsample<T>(stream, p); });
    return absl::OkStatus();
  }

  absl::Status operator()(const FromPlanarOp& op) const {
    const kernels::FromPlanarArguments<T> p = {.batch = setting_.layout.batch(),
                                               .channels = op.x.shape.channels,
                                               .positions = static_cast<int>(op.x.shape.rows()),
                                               .x = setting_.At<const float>(op.x),
                                               .factor = op.scale,
                                               .summand = op.shift,
                                               .y = setting_.At<T>(op.y),
                                               .y_stride = setting_.layout.Stride(op.y),
                                               .y_channels = PaddedChannels(op.y.shape.channels)};
    Add([p](cudaStream_t stream) { return kernels::FromPlanar<T>(stream, p); });
    return absl::OkStatus();
  }
  absl::Status operator()(const ToPlanarOp& op) const {
    if (IsFloat(op.x)) {
      AddToPlanar<float>(op);
    } else {
      AddToPlanar<T>(op);
    }
    return absl::OkStatus();
  }

  absl::Status operator()(const ConvOp&) const { return absl::InternalError("a product"); }
  absl::Status operator()(const LinearOp&) const { return absl::InternalError("a product"); }

 private:
  template <class Launch>
  void Add(Launch launch) const {
    steps_.push_back({node_, launch});
  }
  bool IsFloat(const Value& value) const {
    return setting_.graph.element(value) == Element::kFloat;
  }

  template <class X>
  void AddToPlanar(const ToPlanarOp& op) const {
    const kernels::ToPlanarArguments<X> p = {.batch = setting_.layout.batch(),
                                             .channels = op.x.shape.channels,
                                             .positions = static_cast<int>(op.x.shape.rows()),
                                             .x = setting_.At<const X>(op.x),
                                             .x_stride = setting_.layout.Stride(op.x),
                                             .y = setting_.At<float>(op.y)};
    Add([p](cudaStream_t stream) { return kernels::ToPlanar<X>(stream, p); });
  }

  // What lies behind a tensor's channels, which products take for zeros.
  void ClearPadding(const Value& y) const {
    if (IsFloat(y) || y.shape.channels % kChannelPiece == 0) return;
    const size_t bytes = setting_.rows(y) * setting_.layout.Stride(y) * sizeof(T);
    Add([at = setting_.At<void>(y), bytes](cudaStream_t stream) {
      return cudaMemsetAsync(at, 0, bytes, stream);
    });
  }

  void AddMap(const Value& x, const Value& y, Nonlinearity nonlinearity) const {
    if (IsFloat(x)) {
      IsFloat(y) ? AddMapOf<float, float>(x, y, nonlinearity)
                 : AddMapOf<float, T>(x, y, nonlinearity);
    } else {
      IsFloat(y) ? AddMapOf<T, float>(x, y, nonlinearity) : AddMapOf<T, T>(x, y, nonlinearity);
    }
  }
  template <class X, class Y>
  void AddMapOf(const Value& x, const Value& y, Nonlinearity nonlinearity) const {
    const kernels::MapArguments<X, Y> p = {.rows = setting_.rows(y),
                                           .channels = y.shape.channels,
                                           .x = setting_.At<const X>(x),
                                           .x_stride = setting_.layout.Stride(x),
                                           .y = setting_.At<Y>(y),
                                           .y_stride = setting_.layout.Stride(y),
                                           .mapping = ToMapping(nonlinearity)};
    Add([p](cudaStream_t stream) { return kernels::Map<X, Y>(stream, p); });
  }

  const Setting& setting_;
  int node_;
  std::vector<Step>& steps_;
};

}  // namespace

template <class T>
absl::Status AddOther(const Setting& setting, int node, std::vector<Step>& steps) {
  return std::visit(OtherMaker<T>(setting, node, steps), setting.graph.nodes()[node].op);
}
template absl::Status AddOther<kernels::Bf16>(const Setting&, int, std::vector<Step>&);
template absl::Status AddOther<kernels::Fp16>(const Setting&, int, std::vector<Step>&);

size_t OtherScratch(const Op& op, int batch) {
  if (const auto* attention = std::get_if<AttentionOp>(&op)) {
    return AttentionScratch(*attention, batch);
  }
  return NormScratch(op, batch);
}

}  // namespace tiltshift::engine::cuda
