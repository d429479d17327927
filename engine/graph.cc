#include "engine/graph.h"

#include <utility>

#include "base/check.h"

namespace tiltshift::engine {
namespace {

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;  // clang before 17 does not deduce it

int KernelOf(const Parameter& filter) { return static_cast<int>(filter.shape[2]); }

}  // namespace

Value Graph::NewTensor(Shape shape, Element element) {
  TS_CHECK(shape.size() > 0);
  tensors_.push_back({shape, element});
  return {static_cast<int>(tensors_.size()) - 1, 0, shape};
}

Value Graph::Input(Shape shape, Element element) {
  const Value value = NewTensor(shape, element);
  tensors_.back().written = true;
  return value;
}

Value Graph::Bound(Shape shape, Element element) {
  const Value value = NewTensor(shape, element);
  tensors_.back().bound = true;
  return value;
}

void Graph::Output(const Value& value) { tensors_[value.tensor].read = true; }

Value Graph::Add(std::string name, Op op, Value y) {
  for (const Value& x : InputsOf(op)) TS_CHECK(x.tensor >= 0 && x.tensor < y.tensor);
  nodes_.push_back({std::move(name), std::move(op)});
  return y;
}

Value Graph::Conv(std::string name, ConvOp op, Element element) {
  const Shape& in = op.x.shape;
  TS_CHECK(op.filter->shape.size() == 4 && op.filter->shape[1] == in.channels);
  TS_CHECK(!op.pad_end || (op.stride == 2 && op.filter->shape[2] == 3));
  op.y = NewTensor({(in.height - 1) / op.stride + 1, (in.width - 1) / op.stride + 1,
                    static_cast<int>(op.filter->shape[0])},
                   element);
  TS_CHECK(!op.residual || op.residual->shape == op.y.shape);
  TS_CHECK(!op.row_bias || op.row_bias->shape.size() == op.y.shape.channels);
  return Add(std::move(name), op, op.y);
}

Value Graph::Linear(std::string name, LinearOp op, Element element) {
  TS_CHECK(op.matrix->shape[1] == op.x.shape.channels);
  Shape shape = op.x.shape;
  shape.channels = static_cast<int>(op.matrix->shape[0]);
  op.y = NewTensor(shape, element);
  TS_CHECK(!op.residual || op.residual->shape == shape);
  return Add(std::move(name), op, op.y);
}

Value Graph::GroupNorm(std::string name, GroupNormOp op) {
  TS_CHECK(op.x.shape.channels % op.groups == 0 && op.scale->elements() == op.x.shape.channels);
  const Shape row = {1, 1, 2 * op.groups};
  if (norms_ != Norms::kOwn) {
    const MomentsOp moments{op.x, NewTensor(row, Element::kFloat), op.groups};
    measured_moments_.push_back(Add(name + ".moments", moments, moments.y));
    Output(moments.y);
  }
  if (norms_ == Norms::kGiven) {
    op.moments = Input(row, Element::kFloat);
    given_moments_.push_back(*op.moments);
  }
  op.y = NewTensor(op.x.shape, Element::kActivation);
  return Add(std::move(name), op, op.y);
}

Value Graph::LayerNorm(std::string name, LayerNormOp op) {
  TS_CHECK(op.scale->elements() == op.x.shape.channels);
  op.y = NewTensor(op.x.shape, Element::kActivation);
  return Add(std::move(name), op, op.y);
}

Value Graph::Attention(std::string name, AttentionOp op) {
  TS_CHECK(op.q.shape.channels % op.heads == 0);
  TS_CHECK(op.k.shape == op.v.shape && op.k.shape.channels == op.q.shape.channels);
  TS_CHECK(!op.causal || op.k.shape.rows() == op.q.shape.rows());
  op.y = NewTensor(op.q.shape, Element::kActivation);
  return Add(std::move(name), op, op.y);
}

Value Graph::Geglu(std::string name, const Value& x) {
  Shape shape = x.shape;
  TS_CHECK(shape.channels % 2 == 0);
  shape.channels /= 2;
  const GegluOp op{x, NewTensor(shape, Element::kActivation)};
  return Add(std::move(name), op, op.y);
}

Value Graph::Map(std::string name, const Value& x, Nonlinearity nonlinearity, Element element) {
  const MapOp op{x, NewTensor(x.shape, element), nonlinearity};
  return Add(std::move(name), op, op.y);
}

Value Graph::Concat(std::string name, const Value& a, const Value& b) {
  TS_CHECK(a.shape.height == b.shape.height && a.shape.width == b.shape.width);
  Shape shape = a.shape;
  shape.channels += b.shape.channels;
  const ConcatOp op{a, b, NewTensor(shape, Element::kActivation)};
  return Add(std::move(name), op, op.y);
}

Value Graph::Upsample(std::string name, const Value& x, int height, int width) {
  TS_CHECK((height + 1) / 2 == x.shape.height && (width + 1) / 2 == x.shape.width);
  const Shape shape = {height, width, x.shape.channels};
  const UpsampleOp op{x, NewTensor(shape, Element::kActivation)};
  return Add(std::move(name), op, op.y);
}

Value Graph::FromPlanar(std::string name, const Value& x, float scale, float shift) {
  const FromPlanarOp op{x, NewTensor(x.shape, Element::kActivation), scale, shift};
  return Add(std::move(name), op, op.y);
}

Value Graph::ToPlanar(std::string name, const Value& x) {
  const ToPlanarOp op{x, NewTensor(x.shape, Element::kFloat)};
  return Add(std::move(name), op, op.y);
}

void Graph::FoldGeglu() {
  std::vector<int> readers(tensors_.size(), 0);
  for (const Node& node : nodes_) {
    for (const Value& x : InputsOf(node.op)) ++readers[x.tensor];
  }
  for (size_t i = 0; i + 1 < nodes_.size(); ++i) {
    auto* linear = std::get_if<LinearOp>(&nodes_[i].op);
    const auto* geglu = std::get_if<GegluOp>(&nodes_[i + 1].op);
    if (linear == nullptr || geglu == nullptr || geglu->x.tensor != linear->y.tensor) continue;
    const TensorInfo& between = tensors_[linear->y.tensor];
    if (readers[linear->y.tensor] > 1 || between.read || geglu->x.shape != between.shape) continue;
    if (linear->residual || linear->nonlinearity != Nonlinearity::kNone) continue;
    linear->geglu = true;
    linear->y = geglu->y;
    nodes_.erase(nodes_.begin() + static_cast<std::ptrdiff_t>(i) + 1);
  }
}

Value Graph::Channels(const Value& value, int first, int count) {
  TS_CHECK(first >= 0 && count > 0 && first + count <= value.shape.channels);
  Value part = value;
  part.channel += first;
  part.shape.channels = count;
  return part;
}

std::vector<Value> InputsOf(const Op& op) {
  return std::visit(Overloaded{[](const ConvOp& o) {
                                 std::vector<Value> in = {o.x};
                                 if (o.row_bias) in.push_back(*o.row_bias);
                                 if (o.residual) in.push_back(*o.residual);
                                 return in;
                               },
                               [](const LinearOp& o) {
                                 return o.residual ? std::vector<Value>{o.x, *o.residual}
                                                   : std::vector<Value>{o.x};
                               },
                               [](const GroupNormOp& o) {
                                 return o.moments ? std::vector<Value>{o.x, *o.moments}
                                                  : std::vector<Value>{o.x};
                               },
                               [](const AttentionOp& o) { return std::vector<Value>{o.q, o.k, o.v}; },
                               [](const ConcatOp& o) { return std::vector<Value>{o.a, o.b}; },
                               [](const auto& o) { return std::vector<Value>{o.x}; }},
                    op);
}

const Value& OutputOf(const Op& op) {
  return std::visit([](const auto& o) -> const Value& { return o.y; }, op);
}

std::string KindOf(const Op& op) {
  return std::visit(
      Overloaded{[](const ConvOp& o) {
                   const int kernel = KernelOf(*o.filter);
                   return absl::StrCat("conv ", kernel, "x", kernel, o.stride > 1 ? " stride 2" : "");
                 },
                 [](const LinearOp& o) { return std::string(o.geglu ? "linear + geglu" : "linear"); },
                 [](const GroupNormOp&) { return std::string("group_norm"); },
                 [](const MomentsOp&) { return std::string("moments"); },
                 [](const LayerNormOp&) { return std::string("layer_norm"); },
                 [](const AttentionOp&) { return std::string("attention"); },
                 [](const GegluOp&) { return std::string("geglu"); },
                 [](const MapOp&) { return std::string("map"); },
                 [](const ConcatOp&) { return std::string("concat"); },
                 [](const UpsampleOp&) { return std::string("upsample"); },
                 [](const FromPlanarOp&) { return std::string("from_planar"); },
                 [](const ToPlanarOp&) { return std::string("to_planar"); }},
      op);
}

double FlopsOf(const Op& op) {
  if (const auto* conv = std::get_if<ConvOp>(&op)) {
    const int64_t weights = conv->filter->elements();
    return 2.0 * conv->y.shape.rows() * weights;
  }
  if (const auto* linear = std::get_if<LinearOp>(&op)) {
    return 2.0 * linear->y.shape.rows() * linear->matrix->elements();
  }
  if (const auto* attention = std::get_if<AttentionOp>(&op)) {
    return 4.0 * attention->q.shape.rows() * attention->k.shape.rows() * attention->q.shape.channels;
  }
  return 0;
}

double FlopsOf(const Graph& graph) {
  double flops = 0;
  for (const Node& node : graph.nodes()) flops += FlopsOf(node.op);
  return flops;
}

}  // namespace tiltshift::engine
