// One attention on the card beside its reference in fp64: for the tests, the check on a card and
// the bench.
#pragma once

#include <ostream>
#include <string>

#include "kernels/attention.h"
#include "kernels/testing/compare.h"

namespace tiltshift::kernels::testing {

struct AttentionCase {
  std::string name;
  AttentionShape shape;
  // The scores' spread: 1 weighs all keys about alike, 8 gives nearly all weight to a few.
  float sharpness = 2;
  // Scores grow along the keys, so that a row's maximum keeps rising.
  bool rising = false;
  // q, k and v are channels of one tensor (self-attention's projection), else of three.
  bool packed = false;
  // Samples find their keys through key_offsets, the last sample's first.
  bool offsets = false;
};

inline void PrintTo(const AttentionCase& attention_case, std::ostream* out) {
  *out << attention_case.name;
}

// Runs the case; compares `rows` of its query rows (of all heads), spread over all.
template <class T>
Comparison RunAttentionCase(const AttentionCase& attention_case, int rows);

// Each sample of the batch, attended alone, has the bits it has in the batch.
template <class T>
bool SameBitsForEachSample(const AttentionCase& attention_case);

}  // namespace tiltshift::kernels::testing
