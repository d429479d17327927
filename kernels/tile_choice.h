// Which tile a product is cut into. It changes the time and no bit: all add over k in the same
// order.
#pragma once

#include <cstdint>

namespace tiltshift::kernels {

enum class TileChoice : uint8_t {
  kAuto,         // what fills a card best, from the product's shape
  k64x64,        // four warps of 32 x 32, 32 of k a stage
  k64x64Deep,    // the same with 64 of k a stage, three stages
  k128x64,       // four warps of 64 x 32
  k128x128,      // four warps of 64 x 64
  k128x128Deep,  // the same with 64 of k a stage, three stages
};
inline constexpr TileChoice kAllTiles[] = {TileChoice::k64x64, TileChoice::k64x64Deep,
                                           TileChoice::k128x64, TileChoice::k128x128,
                                           TileChoice::k128x128Deep};

const char* NameOf(TileChoice choice);
// What kAuto means for an [m, n] product.
TileChoice ChooseTile(int64_t m, int64_t n);

}  // namespace tiltshift::kernels
