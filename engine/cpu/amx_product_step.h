// What linear layers and convolutions on AMX tiles share (simd/amx_product.h has the arithmetic): weights packed as
// panels, rows and columns shared out among threads, and in fp32 the activations as the terms they are split into.
#pragma once

#include <vector>

#include "engine/cpu/simd/amx_product.h"
#include "engine/cpu/step.h"

namespace tiltshift::engine::cpu {

// Of the products that the setting allows: bf16 and fp32 both.
bool MayUseAmx(const Setting& setting);
// bf16, or fp32 where all is: what these products read and write.
bool IsActivation(const Setting& setting, const Value& value);

// A picture or a matrix of rows that is split into terms is copied; no more of it at a time than this.
inline constexpr size_t kMostSplitBytes = size_t{24} << 20;

class AmxProductStep : public Step {
 protected:
  AmxProductStep(const Setting& setting, const Parameter& matrix, const Parameter* bias, bool pairs);

  // The rows of a run of the step: row tiles, each the place of its first row, and where in y each of its rows goes.
  struct RowPlaces {
    std::vector<int32_t> tiles, out;
    int last_rows = 16;  // of the last tile
  };
  // Once steps_ is filled; `rows` of the longest run.
  void SetPlaces(const RowPlaces& rows);
  size_t SumBytes() const { return threads_ * ThreadSumBytes(); }
  void SetSums(char* sums) { sums_ = sums; }

  // Rows `rows` times all columns. `a`: where the places are counted from. `row`: of y and of the residual, from which
  // rows.out counts.
  void Multiply(const RowPlaces& rows, const uint16_t* a, int64_t row, char* y, const char* residual);

  bool fp32() const { return product_.fp32; }
  size_t element_bytes() const { return fp32() ? sizeof(float) : sizeof(uint16_t); }
  int terms() const { return fp32() ? simd::kSplitTerms : 1; }

  int threads_;
  std::vector<int32_t> steps_;
  simd::AmxProduct product_;

 private:
  size_t ThreadSumBytes() const;

  char* sums_ = nullptr;
};

}  // namespace tiltshift::engine::cpu
