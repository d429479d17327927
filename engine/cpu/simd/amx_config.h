// How all of our products configure the tile unit.
//
// Included by what is compiled for AMX alone.
#pragma once

#include <cstdint>

namespace tiltshift::engine::simd {
namespace {

constexpr int64_t kTile = 512;  // bf16s of a tile of 16 rows of 64 bytes

// Tiles 0-3: sums; 4, 5: the left side; 6, 7: the right side.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};

  constexpr TileConfig() = default;
  // For a single tile of fewer rows.
  constexpr explicit TileConfig(int count) {
    for (int tile : {0, 1, 4}) rows[tile] = static_cast<uint8_t>(count);
  }
};

}  // namespace
}  // namespace tiltshift::engine::simd
