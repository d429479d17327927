// A linear layer and the GEGLU of what it makes, through oneDNN's matmul: some rows at a time, so
// that what lies between the two, twice as wide as what comes out, does not go to memory and back.
#include <algorithm>

#include "engine/cpu/aligned.h"
#include "engine/cpu/dnnl_step.h"
#include "engine/cpu/dnnl_version.h"
#include "engine/cpu/parallel.h"

namespace tiltshift::engine::cpu {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;

// Enough that the weights, which each run of rows reads, and the threads' meetings after it cost little beside its
// products. Rows don't follow the number of threads, nor then do the sums (I4).
constexpr int64_t kRowsTogether = 256;

// The product of `rows` rows.
class Product : public DnnlStep {
 public:
  Product(const Setting& setting, const LinearOp& op, int64_t rows) : DnnlStep(setting) {
    const memory::dim in = op.x.shape.channels, out = op.matrix->shape[0];
    const auto type = setting.type(Element::kActivation);
    const memory::desc x({rows, in}, setting.type(setting.graph.element(op.x)),
                         memory::dims{setting.stride(op.x), 1});
    const memory::desc y({rows, out}, type, Tag::ab), any({in, out}, type, Tag::any);
    const memory::desc bias({1, out}, memory::data_type::f32, Tag::ab);
    const dnnl::primitive_attr attributes = Attributes({});
    const auto plan = op.bias != nullptr
                          ? PlanOf<dnnl::matmul>(engine_, attributes, x, any, bias, y)
                          : PlanOf<dnnl::matmul>(engine_, attributes, x, any, y);
    SetPrimitive(dnnl::matmul(plan), plan.scratchpad_desc(), plan.impl_info_str());
    const memory::desc plain({in, out}, memory::data_type::f32, Tag::ba);
    AddArgument(DNNL_ARG_WEIGHTS, setting.weights.Packed(*op.matrix, plain, plan.weights_desc()));
    if (op.bias != nullptr)
      AddArgument(DNNL_ARG_BIAS, bias, const_cast<float*>(setting.weights.Floats(*op.bias)));
    x_ = AddArgument(DNNL_ARG_SRC, x, nullptr);
    y_ = AddArgument(DNNL_ARG_DST, y, nullptr);
  }

  void Bind(const Binder&) override {}
  void BindTo(char* between, char* scratch) {
    y_.set_data_handle(between);
    if (scratch_bytes() > 0) AddScratchAt(scratch);
  }
  void RunOn(char* x, const dnnl::stream& stream) {
    x_.set_data_handle(x);
    Execute(stream);
  }
  void Run(const dnnl::stream& stream) override { Execute(stream); }

 private:
  memory x_, y_;
};

class GegluLinearStep : public Step {
 public:
  GegluLinearStep(const Setting& setting, const LinearOp& op)
      : op_(op),
        kernels_(setting.kernels),
        threads_(setting.threads),
        rows_(op.x.shape.rows()),
        x_row_bytes_(setting.stride(op.x) * setting.bytes(op.x)),
        y_row_bytes_(op.y.shape.channels * setting.bytes(op.y)) {
    run_rows_ = std::min(rows_, kRowsTogether);
    whole_ = std::make_unique<Product>(setting, op, run_rows_);
    last_rows_ = (rows_ - 1) % run_rows_ + 1;
    if (last_rows_ < run_rows_) last_ = std::make_unique<Product>(setting, op, last_rows_);
  }

  size_t scratch_bytes() const override {
    const size_t own = std::max(whole_->scratch_bytes(), last_ ? last_->scratch_bytes() : 0);
    return BetweenBytes() + own;
  }
  void Bind(const Binder& binder) override {
    x_ = binder.Of(op_.x);
    y_ = binder.Of(op_.y);
    between_ = binder.Scratch();
    for (Product* product : {whole_.get(), last_.get()})
      if (product != nullptr) product->BindTo(between_, between_ + BetweenBytes());
  }
  void Run(const dnnl::stream& stream) override {
    for (int64_t first = 0; first < rows_; first += run_rows_) {
      const bool is_last = last_ != nullptr && rows_ - first < run_rows_;
      (is_last ? last_ : whole_)->RunOn(x_.get() + first * x_row_bytes_, stream);
      Gate(is_last ? last_rows_ : run_rows_, y_.get() + first * y_row_bytes_);
    }
  }

 private:
  size_t BetweenBytes() const { return Align(run_rows_ * 2 * y_row_bytes_); }
  void Gate(int64_t rows, char* y) const {
    constexpr int64_t kBlock = 16;
    const int64_t channels = op_.y.shape.channels;
    ParallelFor((rows + kBlock - 1) / kBlock, threads_, [&](int64_t block, int) {
      const int64_t row = block * kBlock;
      kernels_.geglu(between_ + row * 2 * y_row_bytes_,
                     {std::min(kBlock, rows - row), channels, channels}, y + row * y_row_bytes_);
    });
  }

  LinearOp op_;
  const simd::Kernels& kernels_;
  int threads_;
  int64_t rows_, x_row_bytes_, y_row_bytes_;
  int64_t run_rows_, last_rows_;  // multiplied at a time
  std::unique_ptr<Product> whole_, last_;
  Place x_, y_;
  char* between_ = nullptr;
};

}  // namespace

std::unique_ptr<Step> MakeGegluLinear(const Setting& setting, const LinearOp& op) {
  return op.geglu ? std::make_unique<GegluLinearStep>(setting, op) : nullptr;
}

}  // namespace tiltshift::engine::cpu
