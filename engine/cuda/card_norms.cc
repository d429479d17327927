// Norms: alone, measured for others, or as the factors and summands that a convolution applies in
// its loads.
#include "engine/cuda/card_steps.h"
#include "kernels/norm.h"

namespace tiltshift::engine::cuda {
namespace {

template <class NormOp>  // GroupNormOp or MomentsOp
kernels::GroupNormShape ShapeOf(const NormOp& op, int batch) {
  return {.batch = batch,
          .positions = static_cast<int>(op.x.shape.rows()),
          .channels = op.x.shape.channels,
          .groups = op.groups};
}

size_t MomentBytes(const kernels::GroupNormShape& shape) {
  const size_t floats = kernels::GroupNormMomentFloats(shape);
  return (floats * sizeof(float) + 255) / 256 * 256;
}

template <class T, class NormOp>
kernels::GroupNormArguments<T> InputsOfNorm(const Setting& setting, const NormOp& op,
                                            char* scratch) {
  kernels::GroupNormArguments<T> p;
  p.shape = ShapeOf(op, setting.layout.batch());
  p.x = setting.At<const T>(op.x);
  p.x_stride = setting.layout.Stride(op.x);
  p.moments = reinterpret_cast<float*>(scratch);
  p.arrivals = setting.arrivals;
  return p;
}

// With `y`, also that.
template <class T>
absl::StatusOr<const float*> AddGroupNorm(const Setting& setting, const GroupNormOp& op, int node,
                                          char* scratch, const Value* y, std::vector<Step>& steps) {
  kernels::GroupNormArguments<T> p = InputsOfNorm<T>(setting, op, scratch);
  TS_ASSIGN_OR_RETURN(p.scale, setting.weights.Floats(*op.scale));
  TS_ASSIGN_OR_RETURN(p.shift, setting.weights.Floats(*op.shift));
  p.eps = op.eps;
  p.silu = op.nonlinearity == Nonlinearity::kSilu;
  if (op.moments) p.given = setting.At<const float>(*op.moments);
  p.affine = reinterpret_cast<float*>(scratch + MomentBytes(p.shape));
  if (y != nullptr) {
    p.y = setting.At<T>(*y);
    p.y_stride = setting.layout.Stride(*y);
  }
  steps.push_back({node, [p](cudaStream_t stream) { return kernels::GroupNorm<T>(stream, p); }});
  return p.affine;
}

}  // namespace

template <class T>
absl::Status AddNorm(const Setting& setting, const GroupNormOp& op, int node,
                     std::vector<Step>& steps) {
  return AddGroupNorm<T>(setting, op, node, setting.scratch, &op.y, steps).status();
}

template <class T>
absl::StatusOr<const float*> AddAffine(const Setting& setting, const GroupNormOp& norm, int node,
                                       char* scratch, std::vector<Step>& steps) {
  return AddGroupNorm<T>(setting, norm, node, scratch, nullptr, steps);
}

template <class T>
absl::Status AddNorm(const Setting& setting, const LayerNormOp& op, int node,
                     std::vector<Step>& steps) {
  kernels::LayerNormArguments<T> p;
  p.rows = setting.rows(op.x);
  p.channels = op.x.shape.channels;
  p.x = setting.At<const T>(op.x);
  p.x_stride = setting.layout.Stride(op.x);
  TS_ASSIGN_OR_RETURN(p.scale, setting.weights.Floats(*op.scale));
  TS_ASSIGN_OR_RETURN(p.shift, setting.weights.Floats(*op.shift));
  p.eps = op.eps;
  p.y = setting.At<T>(op.y);
  p.y_stride = setting.layout.Stride(op.y);
  steps.push_back({node, [p](cudaStream_t stream) { return kernels::LayerNorm<T>(stream, p); }});
  return absl::OkStatus();
}

template <class T>
void AddMoments(const Setting& setting, const MomentsOp& op, int node, std::vector<Step>& steps) {
  kernels::GroupNormArguments<T> p = InputsOfNorm<T>(setting, op, setting.scratch);
  p.measured = setting.At<float>(op.y);
  steps.push_back({node, [p](cudaStream_t stream) { return kernels::GroupNorm<T>(stream, p); }});
}

size_t NormScratch(const Op& op, int batch) {
  if (const auto* moments = std::get_if<MomentsOp>(&op)) {
    return MomentBytes(ShapeOf(*moments, batch));
  }
  const auto* norm = std::get_if<GroupNormOp>(&op);
  if (norm == nullptr) return 0;
  const kernels::GroupNormShape shape = ShapeOf(*norm, batch);
  return MomentBytes(shape) + sizeof(float) * 2 * batch * shape.channels;
}

template absl::Status AddNorm<kernels::Bf16>(const Setting&, const GroupNormOp&, int,
                                             std::vector<Step>&);
template absl::Status AddNorm<kernels::Fp16>(const Setting&, const GroupNormOp&, int,
                                             std::vector<Step>&);
template absl::Status AddNorm<kernels::Bf16>(const Setting&, const LayerNormOp&, int,
                                             std::vector<Step>&);
template absl::Status AddNorm<kernels::Fp16>(const Setting&, const LayerNormOp&, int,
                                             std::vector<Step>&);
template absl::StatusOr<const float*> AddAffine<kernels::Bf16>(const Setting&, const GroupNormOp&,
                                                               int, char*, std::vector<Step>&);
template absl::StatusOr<const float*> AddAffine<kernels::Fp16>(const Setting&, const GroupNormOp&,
                                                               int, char*, std::vector<Step>&);
template void AddMoments<kernels::Bf16>(const Setting&, const MomentsOp&, int, std::vector<Step>&);
template void AddMoments<kernels::Fp16>(const Setting&, const MomentsOp&, int, std::vector<Step>&);

}  // namespace tiltshift::engine::cuda
