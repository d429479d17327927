// Tile products that advance a few instructions at a time, so that the tile unit works while the vector units do
// something else: the processor looks only some 500 instructions ahead.
//
// Included by amx.cc alone: compiled for AMX.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "engine/cpu/simd/amx_config.h"

namespace tiltshift::engine::simd {
namespace {

constexpr TileConfig kConfig;

// From one product of a step's tiles to the next, and from a step's last to the next step's first: elements of the
// left side, and of the right.
struct TileMove {
  int64_t a = 0, b = 0;
};
struct TilePath {
  int64_t moves = 0;  // products a step
  TileMove of[3];
};
constexpr TilePath kOneTerm = {1, {{32, kTile}}};
// Both sides hold two terms a step, the large one first: the products but that of the small terms.
constexpr TilePath kTwoTerms = {3, {{0, kTile}, {32, -kTile}, {32, 2 * kTile}}};

// c [32, 16 * columns] (+)= a [32, 32 * steps] * b, whose column tile n starts at b + n * column.
struct TileProduct {
  const uint16_t* a = nullptr;
  int64_t a_bytes = 0;  // from row to row
  const uint16_t* b = nullptr;
  int64_t column = 0;  // elements
  int64_t steps = 0, columns = 0;
  const TilePath* path = &kOneTerm;
  float* c = nullptr;
  int64_t c_bytes = 0;
  bool add = false;

  // Of a column tile: for each of its two tiles of sums the products, storing, and loading where it adds.
  int64_t pieces() const { return columns * 2 * (steps * path->moves + 1 + (add ? 1 : 0)); }
};

// Up to two products, one after the other, in pieces of one tile product with its loads, or one tile stored or
// loaded. Two column tiles are in work at once, or one at the end.
class TileQueue {
 public:
  void Add(const TileProduct& product) {
    products_[count_++] = product;
    left_ += product.pieces();
    if (count_ == 1) Begin();
  }
  int64_t left() const { return left_; }
  void Drain() { Work(left_); }
  void Work(int64_t pieces) {
    left_ -= pieces;
    for (; pieces > 0; --pieces) Piece();
  }

 private:
  // Three rounds over the tiles of sums, of four pieces each.
  enum Next : uint8_t { kLoad0, kLoad1, kLoad2, kLoad3, kDot0, kDot1, kDot2, kDot3, kStore0, kStore1, kStore2, kStore3 };

  // At a pair of columns' first piece.
  void Begin() {
    const TileProduct& p = products_[current_];
    const int64_t first = column_ * p.column;
    products_left_ = p.steps * p.path->moves;
    move_ = 0;
    a_ = p.a;
    b_ = p.b + first;
    c_ = p.c + 16 * column_;
    pair_ = column_ + 1 < p.columns;
    next_ = p.add ? kLoad0 : kDot0;
    if (p.add) return;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  void End() {
    column_ += 2;
    if (column_ >= products_[current_].columns) {
      column_ = 0;
      if (++current_ == count_) return;
    }
    Begin();
  }

  void Piece() {
    const TileProduct& p = products_[current_];
    switch (next_) {
      case kLoad0: _tile_loadd(0, Sums(0), p.c_bytes); break;
      case kLoad1: _tile_loadd(1, Sums(1), p.c_bytes); break;
      case kLoad2: _tile_loadd(2, Sums(2), p.c_bytes); break;
      case kLoad3: _tile_loadd(3, Sums(3), p.c_bytes); break;
      case kDot0:
        _tile_loadd(4, a_, p.a_bytes);
        _tile_loadd(6, b_, 64);
        _tile_dpbf16ps(0, 4, 6);
        break;
      case kDot1:
        _tile_loadd(7, b_ + p.column, 64);
        _tile_dpbf16ps(1, 4, 7);
        break;
      case kDot2:
        _tile_zero(4);
        _tile_loadd(4, a_ + 8 * p.a_bytes, p.a_bytes);
        _tile_dpbf16ps(2, 4, 6);
        _tile_zero(6);
        break;
      case kDot3:
        _tile_dpbf16ps(3, 4, 7);
        _tile_zero(4);
        _tile_zero(7);
        break;
      case kStore0: _tile_stored(0, Sums(0), p.c_bytes); break;
      case kStore1: _tile_stored(1, Sums(1), p.c_bytes); break;
      case kStore2: _tile_stored(2, Sums(2), p.c_bytes); break;
      case kStore3: _tile_stored(3, Sums(3), p.c_bytes); break;
    }
    Advance();
  }
  // Tiles 0 and 1 side by side, 2 and 3 the 16 rows below.
  float* Sums(int tile) const { return c_ + tile % 2 * 16 + tile / 2 * 4 * products_[current_].c_bytes; }
  // Tiles 1 and 3 are in work where there is a pair of columns.
  void Advance() {
    const int step = pair_ ? 1 : 2;
    if (next_ % 4 + step < 4) {
      next_ = static_cast<Next>(next_ + step);
    } else if (next_ < kDot0) {
      next_ = kDot0;
    } else if (next_ < kStore0) {
      const TilePath& path = *products_[current_].path;
      a_ += path.of[move_].a;
      b_ += path.of[move_].b;
      if (++move_ == path.moves) move_ = 0;
      next_ = --products_left_ > 0 ? kDot0 : kStore0;
    } else {
      End();
    }
  }

  TileProduct products_[2];
  int count_ = 0, current_ = 0;
  int64_t column_ = 0, products_left_ = 0, move_ = 0, left_ = 0;
  const uint16_t* a_ = nullptr;
  const uint16_t* b_ = nullptr;
  float* c_ = nullptr;
  bool pair_ = false;
  Next next_ = kDot0;
};

}  // namespace
}  // namespace tiltshift::engine::simd
