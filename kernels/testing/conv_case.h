// One convolution on the card beside its reference in fp64: for the tests, the check on a card and
// the bench.
#pragma once

#include <ostream>
#include <string>

#include "kernels/conv.h"
#include "kernels/testing/compare.h"

namespace tiltshift::kernels::testing {

struct ConvCase {
  std::string name;
  ConvShape shape;
  bool prologue = false;  // with factors and summands of the case's own
  bool silu = false;
  bool bias = false;
  bool sample_bias = false;
  bool residual = false;
  bool float_output = false;
  TileChoice tile = TileChoice::kAuto;
  int splits = 1;
  int extra_stride = 0;  // numbers between positions of x, y and the residual
};

inline void PrintTo(const ConvCase& conv_case, std::ostream* out) { *out << conv_case.name; }

// Runs the case; compares `rows` of its positions, spread over all (all where that is more).
template <class T>
Comparison RunConvCase(const ConvCase& conv_case, int rows);

// Each sample of the batch, convolved alone, has the bits it has in the batch.
template <class T>
bool SameBitsForEachSample(const ConvCase& conv_case);
// Where GroupNorm makes the factors and summands, of so many groups: the bits are those of its y
// convolved without a prologue.
template <class T>
bool SameBitsAsNormedFirst(const ConvCase& conv_case, int groups);
// A hash of all bits of the result.
template <class T>
uint64_t BitsOf(const ConvCase& conv_case);

}  // namespace tiltshift::kernels::testing
