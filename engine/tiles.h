// Tiles of a picture that is too large to be decoded or encoded as a whole: where they lie, which
// part of each is kept, and the moments that all of them are normalised by (tiled_decoder.h says
// why).
#pragma once

#include <functional>
#include <span>

#include "engine/backend.h"

namespace tiltshift::engine {

struct LatentSize {
  int height = 0, width = 0;  // in latent cells
  bool operator==(const LatentSize&) const = default;
};

// One side of the picture, in cells: where a tile begins, and which of the picture's cells are kept
// of it.
struct TileCut {
  int first = 0;
  int keep = 0, keep_end = 0;
};

// A network of one tile.
struct TileGraph {
  const Graph& graph;
  Value input;
};

struct TiledRun {
  TileGraph measured, given;  // the same network, of Norms::kMeasured and Norms::kGiven
  LatentSize size, tile;
  int halo = 0;  // what the network reaches, in cells
  // The tile's input, which is valid until the next call.
  std::function<std::span<const float>(const TileCut& y, const TileCut& x)> cut;
  // Takes what is kept of the tile from the program of `given`, which has run on it.
  std::function<void(const Program& program, const TileCut& y, const TileCut& x)> keep;
};

// The network over all tiles. Its programs live one after the other and no longer than it runs:
// next to what it costs, compiling them is nothing.
absl::Status RunInTiles(Backend& backend, Compute compute, const TiledRun& run);

}  // namespace tiltshift::engine
