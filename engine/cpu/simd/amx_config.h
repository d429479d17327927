// How all of our products configure the tile unit.
//
// Included by what is compiled for AMX alone.
#pragma once

#include <cstdint>

namespace tiltshift::engine::simd {
namespace {

constexpr int64_t kTile = 512;  // bf16s of a tile of 16 rows of 64 bytes

// Tiles 0-3: sums; 4: the left side; 6, 7: the right side.
//
// Not one more, and a tile is zeroed once nothing needs it. It changes nothing while a core computes
// for one program. But in spells that fill most hours of a rented machine, when its other hardware
// thread seems to be busy, there are registers for hardly more than the eight tiles that programs
// see: an instruction that writes a tile waits for those before it, less so where a tile needs no
// register, which is what a zeroed one is. Nanoseconds a product of 16x16x32 with its loads, from
// the first-level cache, outside of such spells and within (the same process, within milliseconds):
//   a step of bf16, 4 products: eight tiles 5.7 and 27, seven 5.7 and 18.6, zeroed too 5.7 and 15.6
//   a step of fp32, 12 products: 5.7 and 23, 5.7 and 17, 5.7 and 15.3
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
