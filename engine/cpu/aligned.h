// Memory for activations and weights: aligned to a cache line, freed with its owner.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>

namespace tiltshift::engine::cpu {

inline constexpr size_t kAlignment = 64;
inline size_t Align(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

struct FreeBytes {
  void operator()(char* bytes) const { std::free(bytes); }
};
using AlignedBytes = std::unique_ptr<char[], FreeBytes>;

inline AlignedBytes NewAligned(size_t bytes) {
  return AlignedBytes(static_cast<char*>(std::aligned_alloc(kAlignment, Align(bytes + 1))));
}

}  // namespace tiltshift::engine::cpu
