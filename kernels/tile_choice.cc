#include "kernels/tile_choice.h"

namespace tiltshift::kernels {

const char* NameOf(TileChoice choice) {
  switch (choice) {
    case TileChoice::kAuto:
      return "auto";
    case TileChoice::k64x64:
      return "64x64";
    case TileChoice::k128x64:
      return "128x64";
    case TileChoice::k128x128:
      return "128x128";
    case TileChoice::k128x128Deep:
      return "128x128x64";
    case TileChoice::k128x256:
      return "128x256";
    case TileChoice::k256x128:
      return "256x128";
  }
  return "unknown";
}

TileChoice ChooseTile(int64_t m, int64_t n) {
  constexpr int64_t kFewTiles = 96;
  return (m + 127) / 128 * ((n + 127) / 128) < kFewTiles ? TileChoice::k64x64
                                                         : TileChoice::k128x128;
}

}  // namespace tiltshift::kernels
