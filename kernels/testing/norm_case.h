// One GroupNorm or LayerNorm on the card beside its reference in fp64: for the tests, the check on
// a card and the bench.
#pragma once

#include <ostream>
#include <string>

#include "kernels/norm.h"
#include "kernels/testing/compare.h"

namespace tiltshift::kernels::testing {

struct NormCase {
  std::string name;
  // LayerNorm: groups 0, rows = batch x positions.
  GroupNormShape shape;
  bool silu = false;
  float mean = 0.5f;  // of x, whose deviation is about 0.6
  int extra_stride = 0;
  bool arrivals = true;  // GroupNorm: the last block finishes; else a launch of its own
};

inline void PrintTo(const NormCase& norm_case, std::ostream* out) { *out << norm_case.name; }

template <class T>
Comparison RunNormCase(const NormCase& norm_case);

// A hash of all bits of the result.
template <class T>
uint64_t BitsOf(const NormCase& norm_case);
// Each sample of the batch, normed alone, has the bits it has in the batch.
template <class T>
bool SameBitsForEachSample(const NormCase& norm_case);

}  // namespace tiltshift::kernels::testing
