// Counter-based noise: a number depends on (seed, stream, index) and on nothing else, so any worker
// can make any part of any variant's noise (I4).
//
// Philox 4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC
// 2011.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace tiltshift::engine {

// Ten rounds over one counter.
std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// out[i] = standard normal number `offset + i` of the stream (seed, stream_step); stream_step 0 is
// the initial latent, step + 1 the noise a stochastic sampler adds at `step`. Four numbers come of
// a block: key = seed (low, high), counter = (block low, block high, stream_step, 0), then
// Box-Muller in double, rounded once.
//
// The same bits on every machine with IEEE arithmetic: logarithm, sine and cosine are polynomials
// written here, not the C library's, and the file is compiled without contraction to FMA. How a
// range is cut into calls does not matter.
void FillNormal(uint64_t seed, uint32_t stream_step, std::span<float> out, uint64_t offset = 0);

}  // namespace tiltshift::engine
