// Ranges of variants as what a function sets of a bitmap in Redis: whole bytes of long ranges, and
// masks of a window of bytes for what is short or scattered. A mask costs Redis a few operations,
// however many ranges are in it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "proto/job.pb.h"

namespace tiltshift::store {

// Bit i of a bitmap is bit 7 - i % 8 of byte i / 8, as Redis has it.
struct BitPiece {
  uint64_t from = 0, to = 0;  // bytes, both included
  std::string mask;           // of these bytes; empty: all their bits
};

// Sorted and apart. Ranges may overlap and come in any order.
std::vector<BitPiece> BitPieces(const std::vector<v1::VariantRange>& ranges);

}  // namespace tiltshift::store
