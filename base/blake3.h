// BLAKE3 (O'Connor, Aumasson, Neves and Wilcox-O'Hearn, 2020), for gigabytes: a tree of which all
// cores take part, and of which a core computes sixteen nodes side by side in vectors of 512 bits,
// eight in those of 256. No distribution we build on has its library.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace tiltshift {

// 64 hex characters, as b3sum prints them.
std::string Blake3Hex(std::string_view bytes);

// The same of what is longer than a piece, each piece on any thread: all whole but the last.
inline constexpr size_t kBlake3Piece = size_t{1} << 20;
using Blake3Value = std::array<uint32_t, 8>;
Blake3Value Blake3OfPiece(std::string_view piece, uint64_t index);
std::string Blake3Hex(std::span<const Blake3Value> pieces);  // two at least

}  // namespace tiltshift
