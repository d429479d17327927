// Tiles of a picture that is too large to be decoded or encoded as a whole: where they lie, which part of each is kept,
// and the moments that all of them are normalised by (tiled_decoder.h says why).
#pragma once

#include <functional>
#include <vector>

#include "engine/backend.h"

namespace tiltshift::engine {

struct LatentSize {
  int height = 0, width = 0;  // in latent cells
  bool operator==(const LatentSize&) const = default;
};

// One side of the picture, in cells: where a tile begins, and which of the picture's cells are kept of it.
struct TileCut {
  int first = 0;
  int keep = 0, keep_end = 0;
};
// As many tiles of `tile` cells as cover the side, evenly, each with a halo on both sides where the picture goes on.
std::vector<TileCut> CutsOf(int cells, int tile, int halo);
// For measuring: next to each other, the last one drawn back onto the picture.
std::vector<TileCut> ApartOf(int cells, int tile);

// The mean of the moments that tiles measure.
class TileMoments {
 public:
  // `write` gives the program the tile of those cuts; `rows` are where it leaves its moments.
  void Measure(Program& program, const std::vector<Value>& rows, LatentSize size, LatentSize tile,
               const std::function<void(const TileCut& y, const TileCut& x)>& write);
  void Give(Program& program, const std::vector<Value>& rows) const;

 private:
  std::vector<std::vector<float>> moments_;
};

}  // namespace tiltshift::engine
