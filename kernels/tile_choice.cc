#include "kernels/tile_choice.h"

#include <algorithm>

#include "kernels/split.h"

namespace tiltshift::kernels {

const char* NameOf(TileChoice choice) {
  switch (choice) {
    case TileChoice::kAuto:
      return "auto";
    case TileChoice::k64x64:
      return "64x64";
    case TileChoice::k64x64Deep:
      return "64x64x64";
    case TileChoice::k128x64:
      return "128x64";
    case TileChoice::k128x128:
      return "128x128";
    case TileChoice::k128x128Deep:
      return "128x128x64";
  }
  return "unknown";
}

TileChoice ChooseTile(int64_t m, int64_t n) {
  constexpr int64_t kFewTiles = 96;
  return (m + 127) / 128 * ((n + 127) / 128) < kFewTiles ? TileChoice::k64x64
                                                         : TileChoice::k128x128;
}

// Two samples (guidance) of small tiles should give a large card two blocks a multiprocessor; a
// share should still be long enough to be worth its start.
int ChooseSplit(int64_t rows, int64_t n, int64_t channels, int64_t k) {
  constexpr int64_t kBlocks = 264, kShortest = 4 * kSplitUnit, kMost = 16;
  if (channels % kSplitUnit != 0) return 1;
  const int64_t tiles = (2 * rows + 63) / 64 * ((n + 63) / 64);
  return static_cast<int>(std::max<int64_t>(1, std::min({kBlocks / tiles, k / kShortest, kMost})));
}

}  // namespace tiltshift::kernels
