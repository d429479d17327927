// SHA-256's inner function (FIPS 180-4, 6.2.2) by the processor's own instructions.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tiltshift {

inline constexpr size_t kSha256Block = 64;

bool HasSha256Blocks();
// Takes `blocks` whole blocks into the eight words of the state. Only where HasSha256Blocks().
void Sha256Blocks(const char* bytes, size_t blocks, uint32_t* state);

}  // namespace tiltshift
