#include "engine/tiles.h"

#include <algorithm>

#include "base/check.h"

namespace tiltshift::engine {

std::vector<TileCut> CutsOf(int cells, int tile, int halo) {
  if (tile >= cells) return {{0, 0, cells}};
  const int most = tile - 2 * halo;  // kept of a tile
  TS_CHECK(most > 0);
  const int count = (cells + most - 1) / most;
  std::vector<TileCut> cuts;
  for (int i = 0; i < count; ++i) {
    const int keep = i * cells / count, end = (i + 1) * cells / count;
    cuts.push_back({std::clamp(keep - halo, 0, cells - tile), keep, end});
  }
  return cuts;
}

std::vector<TileCut> ApartOf(int cells, int tile) {
  std::vector<TileCut> cuts;
  for (int at = 0; at < cells; at += tile) cuts.push_back({std::min(at, cells - tile), 0, 0});
  return cuts;
}

void TileMoments::Measure(Program& program, const std::vector<Value>& rows, LatentSize size, LatentSize tile,
                          const std::function<void(const TileCut& y, const TileCut& x)>& write) {
  moments_.assign(rows.size(), {});
  std::vector<float> row;
  const std::vector<TileCut> ys = ApartOf(size.height, tile.height), xs = ApartOf(size.width, tile.width);
  const float share = 1.0f / static_cast<float>(ys.size() * xs.size());
  for (const TileCut& y : ys) {
    for (const TileCut& x : xs) {
      write(y, x);
      program.Run();
      for (size_t i = 0; i < rows.size(); ++i) {
        row.resize(rows[i].shape.size());
        moments_[i].resize(row.size());
        program.Read(rows[i], row);
        for (size_t j = 0; j < row.size(); ++j) moments_[i][j] += row[j] * share;
      }
    }
  }
}

void TileMoments::Give(Program& program, const std::vector<Value>& rows) const {
  for (size_t i = 0; i < rows.size(); ++i) program.Write(rows[i], moments_[i]);
}

}  // namespace tiltshift::engine
