// What linear layers and convolutions on AMX tiles share (simd/amx_product.h has the arithmetic):
// weights packed as panels, rows and columns shared out among threads, and a copy of what is
// multiplied, where its own layout does not serve: with a border, or in fp32 as the terms that
// floats are split into.
#pragma once

#include <vector>

#include "engine/cpu/simd/amx_product.h"
#include "engine/cpu/step.h"

namespace tiltshift::engine::cpu {

// Of the products that the setting allows: bf16 and fp32 both.
bool MayUseAmx(const Setting& setting);
// bf16, or fp32 where all is: what these products read and write.
bool IsActivation(const Setting& setting, const Value& value);

// A picture or a matrix of rows that is split into terms is copied; no more of it at a time than
// this.
inline constexpr size_t kMostSplitBytes = size_t{24} << 20;

// Lines are a picture's, or the rows of a matrix.
class AmxProductStep : public Step {
 public:
  size_t scratch_bytes() const override;
  void Bind(const Binder& binder) override;
  void Run(const dnnl::stream&) override;

 protected:
  struct Layer {
    Value x, y;
    std::optional<Value> residual;
    const Parameter* matrix;
    const Parameter* bias;  // may be null
    bool geglu = false;
  };
  // The rows of a run: row tiles, each the place of its first row, and where in y each of its rows
  // goes, counted from the run's first.
  struct RowPlaces {
    std::vector<int32_t> tiles, out;
    int last_rows = 16;  // of the last tile
  };
  struct Runs {
    int64_t lines, at_a_time;
    int64_t line_rows;      // of y
    int64_t copy_elements;  // of a term, where lines are copied; else 0
    RowPlaces whole, last;  // of a run of all `at_a_time`, and of what is left for the last one
  };

  AmxProductStep(const Setting& setting, Layer layer);
  // Once steps_ is filled, in the constructor.
  void SetRuns(Runs runs);
  // Lines [first, first + count), and what else their products read, to copy_.
  virtual void Copy(int64_t first, int64_t count) const = 0;

  bool fp32() const { return product_.fp32; }
  int terms() const { return fp32() ? simd::kSplitTerms : 1; }
  const char* x() const { return x_.get(); }

  const Layer layer_;
  const int threads_;
  const int64_t x_stride_;
  std::vector<int32_t> steps_;
  simd::AmxProduct product_;
  uint16_t* copy_ = nullptr;

 private:
  void Multiply(const RowPlaces& rows, const uint16_t* a, int64_t first_row);
  size_t ThreadSumBytes() const;

  Runs runs_;
  Place x_, y_, residual_;
  char* sums_ = nullptr;
};

}  // namespace tiltshift::engine::cpu
