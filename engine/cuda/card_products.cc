// Convolutions and linear layers, with what is folded into them.
#include <optional>

#include "engine/cuda/card_steps.h"
#include "kernels/conv.h"
#include "kernels/gemm.h"

namespace tiltshift::engine::cuda {
namespace {

using kernels::ConvArguments;
using kernels::GemmArguments;

kernels::Activation ToActivation(Nonlinearity nonlinearity) {
  switch (nonlinearity) {
    case Nonlinearity::kNone:
      return kernels::Activation::kNone;
    case Nonlinearity::kSilu:
      return kernels::Activation::kSilu;
    case Nonlinearity::kGelu:
      return kernels::Activation::kGelu;
    case Nonlinearity::kQuickGelu:
      return kernels::Activation::kQuickGelu;
    case Nonlinearity::kRelu:
      return kernels::Activation::kRelu;
    case Nonlinearity::kSoftClamp:
      return kernels::Activation::kSoftClamp;
  }
  return kernels::Activation::kNone;
}

// The layer's, whatever the batch is (I4).
int SplitOf(const LinearOp& op) {
  return kernels::ChooseSplit(op.y.shape.rows(), op.y.shape.channels, op.x.shape.channels,
                              op.x.shape.channels);
}
int SplitOf(const ConvOp& op) {
  const int64_t places = op.filter->shape[2] * op.filter->shape[3];
  return kernels::ChooseSplit(op.y.shape.rows(), op.y.shape.channels, op.x.shape.channels,
                              places * op.x.shape.channels);
}

class ProductMaker {
 public:
  ProductMaker(const Setting& setting, int node)
      : setting_(setting), node_(node), op_(setting.graph.nodes()[node].op) {}

  template <class T>
  absl::Status Add(std::vector<Step>& steps) const {
    if (const auto* conv = std::get_if<ConvOp>(&op_)) {
      return AddConv<T>(*conv, node_, {conv->y, Nonlinearity::kNone}, steps);
    }
    if (const auto* linear = std::get_if<LinearOp>(&op_)) {
      return AddLinear<T>(*linear, linear->y, ToActivation(linear->nonlinearity), steps);
    }
    const int folded = setting_.layout.FoldedIn(node_);
    const Op& before = setting_.graph.nodes()[folded].op;
    if (const auto* map = std::get_if<MapOp>(&op_)) {
      return AddConv<T>(std::get<ConvOp>(before), folded, {map->y, map->nonlinearity}, steps);
    }
    return AddLinear<T>(std::get<LinearOp>(before), std::get<GegluOp>(op_).y,
                        kernels::Activation::kGeglu, steps);
  }

 private:
  bool IsFloat(const Value& value) const {
    return setting_.graph.element(value) == Element::kFloat;
  }
  // Activations are made with their padding.
  int Columns(const Value& y) const {
    return IsFloat(y) ? y.shape.channels : PaddedChannels(y.shape.channels);
  }

  kernels::Split SplitFor(int count) const {
    return {count, reinterpret_cast<float*>(setting_.scratch)};
  }

  absl::Status AddEnds(const std::optional<Value>& residual, const Value& y,
                       kernels::Epilogue* epilogue) const {
    epilogue->float_output = IsFloat(y);
    epilogue->rows_per_sample = static_cast<int>(y.shape.rows());
    if (!residual) return absl::OkStatus();
    if (IsFloat(*residual)) return absl::UnimplementedError("a residual in fp32");
    epilogue->residual = setting_.At<void>(*residual);
    epilogue->residual_stride = setting_.layout.Stride(*residual);
    return absl::OkStatus();
  }

  // What a convolution makes, and by which function.
  struct Made {
    Value y;
    Nonlinearity nonlinearity;
  };

  template <class T>
  absl::Status AddConv(const ConvOp& op, int conv_node, const Made& made,
                       std::vector<Step>& steps) const {
    ConvArguments<T> p;
    Value x = op.x;
    if (IsFloat(x)) return absl::UnimplementedError("a convolution of fp32");
    const int folded = setting_.layout.FoldedIn(conv_node);
    const Op* before = folded >= 0 ? &setting_.graph.nodes()[folded].op : nullptr;
    const auto* up = before != nullptr ? std::get_if<UpsampleOp>(before) : nullptr;
    const auto* norm = before != nullptr ? std::get_if<GroupNormOp>(before) : nullptr;
    if (up != nullptr) x = up->x;
    if (norm != nullptr) {
      x = norm->x;
      char* scratch = setting_.scratch + ProductScratch(op, setting_.layout.batch());
      TS_ASSIGN_OR_RETURN(p.prologue.affine, AddAffine<T>(setting_, *norm, folded, scratch, steps));
      p.prologue.silu = norm->nonlinearity == Nonlinearity::kSilu;
    }
    const int kernel = static_cast<int>(op.filter->shape[2]);
    p.shape = {.batch = setting_.layout.batch(),
               .height = x.shape.height,
               .width = x.shape.width,
               .channels = PaddedChannels(x.shape.channels),
               .out_height = op.y.shape.height,
               .out_width = op.y.shape.width,
               .out_channels = Columns(op.y),
               .kernel = kernel,
               .stride = op.stride,
               .pad = op.pad_end ? 0 : kernel / 2,
               .upsample = up != nullptr};
    p.x = setting_.At<const T>(x);
    p.x_stride = setting_.layout.Stride(x);
    TS_ASSIGN_OR_RETURN(const void* w, setting_.weights.Rows(*op.filter));
    p.w = static_cast<const T*>(w);
    p.y = setting_.At<void>(made.y);
    p.y_stride = setting_.layout.Stride(made.y);
    p.split = SplitFor(SplitOf(op));
    TS_RETURN_IF_ERROR(AddEnds(op.residual, made.y, &p.epilogue));
    p.epilogue.activation = ToActivation(made.nonlinearity);
    p.epilogue.residual_first = true;
    if (op.row_bias) {
      if (!IsFloat(*op.row_bias) || op.row_bias->shape.channels % 8 != 0) {
        return absl::UnimplementedError("a row of biases that is not fp32, or no multiple of 8");
      }
      p.epilogue.sample_bias = setting_.At<float>(*op.row_bias);
      p.epilogue.sample_bias_stride = setting_.layout.Stride(*op.row_bias);
    } else if (op.bias != nullptr) {
      TS_ASSIGN_OR_RETURN(p.epilogue.bias, setting_.weights.Floats(*op.bias));
    }
    steps.push_back({node_, [p](cudaStream_t stream) { return kernels::Conv<T>(stream, p); }});
    return absl::OkStatus();
  }

  template <class T>
  absl::Status AddLinear(const LinearOp& op, const Value& y, kernels::Activation activation,
                         std::vector<Step>& steps) const {
    const bool pairs = activation == kernels::Activation::kGeglu;
    const RowOrder order = pairs ? RowOrder::kPairs : RowOrder::kPlain;
    GemmArguments<T> p;
    if (IsFloat(op.x)) return absl::UnimplementedError("a product of fp32");
    p.shape = {setting_.rows(op.x), pairs ? 2 * y.shape.channels : Columns(y),
               PaddedChannels(op.x.shape.channels)};
    p.x = setting_.At<const T>(op.x);
    p.x_stride = setting_.layout.Stride(op.x);
    TS_ASSIGN_OR_RETURN(const void* w, setting_.weights.Rows(*op.matrix, order));
    p.w = static_cast<const T*>(w);
    p.y = setting_.At<void>(y);
    p.y_stride = setting_.layout.Stride(y);
    p.epilogue.activation = activation;
    p.split = SplitFor(SplitOf(op));
    TS_RETURN_IF_ERROR(AddEnds(op.residual, y, &p.epilogue));
    if (op.bias != nullptr) {
      TS_ASSIGN_OR_RETURN(p.epilogue.bias, setting_.weights.Floats(*op.bias, order));
    }
    steps.push_back({node_, [p](cudaStream_t stream) { return kernels::Gemm<T>(stream, p); }});
    return absl::OkStatus();
  }

  const Setting& setting_;
  int node_;
  const Op& op_;
};

}  // namespace

template <class T>
absl::Status AddProduct(const Setting& setting, int node, std::vector<Step>& steps) {
  return ProductMaker(setting, node).Add<T>(steps);
}
template absl::Status AddProduct<kernels::Bf16>(const Setting&, int, std::vector<Step>&);
template absl::Status AddProduct<kernels::Fp16>(const Setting&, int, std::vector<Step>&);

size_t ProductScratch(const Op& op, int batch) {
  const auto bytes = [&](int split, const Shape& y) {
    const size_t partial = batch * y.rows() * PaddedChannels(y.channels) * sizeof(float);
    return split > 1 ? (split * partial + 255) / 256 * 256 : 0;
  };
  if (const auto* conv = std::get_if<ConvOp>(&op)) return bytes(SplitOf(*conv), conv->y.shape);
  if (const auto* linear = std::get_if<LinearOp>(&op))
    return bytes(SplitOf(*linear), linear->y.shape);
  return 0;
}

}  // namespace tiltshift::engine::cuda
