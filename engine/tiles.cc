#include "engine/tiles.h"

#include <algorithm>
#include <vector>

#include "base/check.h"

namespace tiltshift::engine {
namespace {

// As many tiles as cover the side, evenly, each with a halo on both sides where the picture goes
// on.
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

// For measuring: next to each other, the last one drawn back onto the picture.
std::vector<TileCut> ApartOf(int cells, int tile) {
  std::vector<TileCut> cuts;
  for (int at = 0; at < cells; at += tile) cuts.push_back({std::min(at, cells - tile), 0, 0});
  return cuts;
}

using Moments = std::vector<std::vector<float>>;  // of each group norm

// The mean of what the tiles' group norms measure.
Moments Measure(Program& program, const TileGraph& graph, const TiledRun& run) {
  const std::vector<Value>& rows = graph.graph.measured_moments();
  Moments moments(rows.size());
  std::vector<float> row;
  const std::vector<TileCut> ys = ApartOf(run.size.height, run.tile.height),
                             xs = ApartOf(run.size.width, run.tile.width);
  const float share = 1.0f / static_cast<float>(ys.size() * xs.size());
  for (const TileCut& y : ys) {
    for (const TileCut& x : xs) {
      program.Write(graph.input, run.cut(y, x));
      program.Run();
      for (size_t i = 0; i < rows.size(); ++i) {
        row.resize(rows[i].shape.size());
        moments[i].resize(row.size());
        program.Read(rows[i], row);
        for (size_t j = 0; j < row.size(); ++j) moments[i][j] += row[j] * share;
      }
    }
  }
  return moments;
}

void Give(const Moments& moments, const TileGraph& graph, Program& program) {
  const std::vector<Value>& rows = graph.graph.given_moments();
  for (size_t i = 0; i < rows.size(); ++i) program.Write(rows[i], moments[i]);
}

}  // namespace

absl::Status RunInTiles(Backend& backend, Compute compute, const TiledRun& run) {
  Moments moments;
  const bool has_norms = !run.measured.graph.measured_moments().empty();
  if (has_norms) {
    TS_ASSIGN_OR_RETURN(const auto measured, backend.Compile(run.measured.graph, compute));
    moments = Measure(*measured, run.measured, run);
  }
  TS_ASSIGN_OR_RETURN(const auto given, backend.Compile(run.given.graph, compute));
  if (has_norms) {
    Give(moments, run.given, *given);
    Give(Measure(*given, run.given, run), run.given, *given);
  }
  for (const TileCut& y : CutsOf(run.size.height, run.tile.height, run.halo)) {
    for (const TileCut& x : CutsOf(run.size.width, run.tile.width, run.halo)) {
      given->Write(run.given.input, run.cut(y, x));
      given->Run();
      run.keep(*given, y, x);
    }
  }
  return absl::OkStatus();
}

}  // namespace tiltshift::engine
