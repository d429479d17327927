// Whether a kernel's numbers lie within the bound that its arithmetic gives.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/numbers.h"

namespace tiltshift::kernels::testing {

// The exact value, and how far a result may be from it.
struct Expected {
  double value = 0;
  double bound = 0;
};

// Half the distance between neighbours at 1: the relative error of rounding to T.
template <class T>
constexpr double Rounding();
template <>
constexpr double Rounding<float>() {
  return 0x1p-24;
}
template <>
constexpr double Rounding<Bf16>() {
  return 0x1p-8;
}
template <>
constexpr double Rounding<Fp16>() {
  return 0x1p-11;
}

// The largest |result - value| / bound: at most 1 where all is well. NaN counts as infinite.
struct Comparison {
  double worst = 0;
  int64_t at = -1;
  std::string Describe() const {
    return "worst " + std::to_string(worst) + " of the bound, at " + std::to_string(at);
  }
};

template <class T>
Comparison Compare(const std::vector<T>& results, const std::vector<Expected>& expected) {
  Comparison comparison;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double error = std::fabs(static_cast<double>(ToFloat(results[i])) - expected[i].value);
    const double share = std::isfinite(error) ? error / expected[i].bound : INFINITY;
    if (share > comparison.worst) comparison = {share, static_cast<int64_t>(i)};
  }
  return comparison;
}

}  // namespace tiltshift::kernels::testing
