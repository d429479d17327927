// What the cases of GEMM and of convolution share: sums with their bounds, and the comparison of a
// tensor's rows.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/testing/compare.h"

namespace tiltshift::kernels::testing {

// Terms that the card adds in fp32.
class Sum {
 public:
  void Add(double term) { Add(term, 0); }
  // A term that is off by up to `error` itself.
  void Add(double term, double error) {
    sum_ += term;
    magnitude_ += std::fabs(term) + error;
    error_ += error;
  }
  // Each of `terms` exact products was added with one rounding of at most the sum of magnitudes.
  Expected Result(int terms) const { return {sum_, error_ + terms * 0x1p-24 * magnitude_}; }

 private:
  double sum_ = 0, magnitude_ = 0, error_ = 0;
};

// What is stored of it: rounded once to T, or to fp32.
template <class T>
Expected Stored(Expected result, bool float_output) {
  const double rounding = float_output ? Rounding<float>() : Rounding<T>();
  result.bound += rounding * (std::fabs(result.value) + result.bound) + 0x1p-24;
  return result;
}

// y's rows with `columns` numbers, `stride` apart, beside expected(row, column): `checked` of all
// `rows`, spread over them. What lies between rows has to be zero.
template <class Y, class ExpectedAt>
Comparison CompareRows(const std::vector<Y>& y, int rows, int columns, int64_t stride, int checked,
                       const ExpectedAt& expected_at) {
  std::vector<Expected> expected;
  std::vector<Y> results;
  checked = std::min(checked, rows);
  for (int i = 0; i < checked; ++i) {
    const int row = static_cast<int>(int64_t{i} * rows / checked);
    for (int64_t column = 0; column < stride; ++column) {
      expected.push_back(column < columns ? expected_at(row, static_cast<int>(column))
                                          : Expected{0, 1e-300});
      results.push_back(y[row * stride + column]);
    }
  }
  return Compare(results, expected);
}

}  // namespace tiltshift::kernels::testing
