// SHA-256's inner function (FIPS 180-4, 6.2.2) by the processor's own instructions.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tiltshift {

inline constexpr size_t kSha256Block = 64;

bool HasSha256Blocks();
// Takes `blocks` whole blocks into the eight words of the state. Only where HasSha256Blocks().
void Sha256Blocks(const char* bytes, size_t blocks, uint32_t* state);

// The same of sixteen messages at once, in vectors of 512 bits: in the time of eight alone.
inline constexpr size_t kSha256Lanes = 16;
bool HasSha256Lanes();
// Takes `blocks` blocks of each lane's bytes into its words: state[word][lane]. Only where
// HasSha256Lanes().
void Sha256LaneBlocks(const char* const* bytes, size_t blocks, uint32_t (*state)[kSha256Lanes]);

}  // namespace tiltshift
