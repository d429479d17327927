// Which tile a product is cut into. It changes the time and no bit: all add over k in the same
// order.
#pragma once

#include <cstdint>

namespace tiltshift::kernels {

enum class TileChoice : uint8_t {
  kAuto,       // what fills a card best, from the product's shape
  k64x64,      // four warps of 32 x 32, 32 of k a stage
  k64x64Deep,  // the same with 64 of k a stage
  k128x128,    // four warps of 64 x 64, 64 of k a stage
};
inline constexpr TileChoice kAllTiles[] = {TileChoice::k64x64, TileChoice::k64x64Deep,
                                           TileChoice::k128x128};

const char* NameOf(TileChoice choice);
// What kAuto means for a product of m x n sums over k, in so many shares: the least time by a model
// fitted to an H200 (tile_choice.cc).
TileChoice ChooseTile(int64_t m, int64_t n, int64_t k, int splits);

}  // namespace tiltshift::kernels
