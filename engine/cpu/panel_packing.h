// A filter [out, in, kh, kw] or matrix [out, in] as the panels that products on AMX tiles read
// (simd/amx_product.h).
//
// k runs over blocks of 32 input channels, of which there must be whole ones, in each over the
// filter's places, 1 or 9, and fastest over the block's channels. With layout.pairs there must be
// whole 32 outputs. Packing a weight costs about half a nanosecond of a core (docs/performance.md);
// any part is packed alone, so that threads share out a tensor.
#pragma once

#include <cstdint>
#include <span>

#include "engine/cpu/simd/amx_product.h"
#include "engine/parameter.h"

namespace tiltshift::engine::cpu {

class PanelPacking {
 public:
  // `parameter` must outlive it.
  PanelPacking(const Parameter& parameter, const simd::PanelLayout& layout);

  uint64_t bytes() const { return panels_ * steps_ * step_bytes_; }
  // Bytes [from, from + out.size()) of all. Any thread. On a processor with AMX.
  void Pack(uint64_t from, std::span<char> out) const;

 private:
  class Rows;

  const Parameter* parameter_;
  simd::PanelLayout layout_;
  int64_t columns_, depth_, places_;
  uint64_t panels_, steps_, step_bytes_;
};

}  // namespace tiltshift::engine::cpu
