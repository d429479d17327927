// One product on the card beside its reference in fp64: for the tests, the check on a card and the
// bench.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>

#include "kernels/gemm.h"
#include "kernels/testing/compare.h"

namespace tiltshift::kernels::testing {

struct GemmCase {
  std::string name;
  GemmShape shape;
  Activation activation = Activation::kNone;
  bool bias = false;
  int samples = 0;  // with a bias for each; 0: none
  bool residual = false;
  bool residual_first = false;
  bool float_output = false;
  TileChoice tile = TileChoice::kAuto;
  int splits = 1;
  int extra_stride = 0;  // numbers between rows of x, y and the residual
};

inline void PrintTo(const GemmCase& gemm_case, std::ostream* out) { *out << gemm_case.name; }

// Runs the case; compares `rows` of its rows, spread over all (all where that is more).
template <class T>
Comparison RunGemmCase(const GemmCase& gemm_case, int rows);

// Rows [first, first + m) of a product of `rows` rows, made alone, have the bits they have in the
// whole.
template <class T>
bool SameBitsAlone(const GemmCase& gemm_case, int first, int m);
// A hash of all bits of the result.
template <class T>
uint64_t BitsOf(const GemmCase& gemm_case);

}  // namespace tiltshift::kernels::testing
