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

// c [32, 16 * columns] (+)= a [32, 32 * steps] * b, whose column tile n is `steps` tiles from b + n * column on.
struct TileProduct {
  const uint16_t* a = nullptr;
  int64_t a_bytes = 0;  // from row to row
  const uint16_t* b = nullptr;
  int64_t column = 0;  // elements
  int64_t steps = 0, columns = 0;
  float* c = nullptr;
  int64_t c_bytes = 0;
  bool add = false;

  // Of a column tile: for each of its two tiles of sums a product a step, storing, and loading where it adds.
  int64_t pieces() const { return columns * 2 * (steps + 1 + (add ? 1 : 0)); }
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
  enum Next : uint8_t { kLoad0, kLoad1, kLoad2, kLoad3, kDot0, kDot1, kDot2, kDot3, kStore0, kStore1, kStore2, kStore3 };

  // At a pair of columns' first piece.
  void Begin() {
    const TileProduct& p = products_[current_];
    const int64_t first = column_ * p.column;
    step_ = p.steps;
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
    float* const c1 = c_ + 4 * p.c_bytes;  // 16 rows on
    switch (next_) {
      case kLoad0:
        _tile_loadd(0, c_, p.c_bytes);
        next_ = pair_ ? kLoad1 : kLoad2;
        break;
      case kLoad1:
        _tile_loadd(1, c_ + 16, p.c_bytes);
        next_ = kLoad2;
        break;
      case kLoad2:
        _tile_loadd(2, c1, p.c_bytes);
        next_ = pair_ ? kLoad3 : kDot0;
        break;
      case kLoad3:
        _tile_loadd(3, c1 + 16, p.c_bytes);
        next_ = kDot0;
        break;
      case kDot0:
        _tile_loadd(4, a_, p.a_bytes);
        _tile_loadd(6, b_, 64);
        _tile_dpbf16ps(0, 4, 6);
        next_ = pair_ ? kDot1 : kDot2;
        break;
      case kDot1:
        _tile_loadd(7, b_ + p.column, 64);
        _tile_dpbf16ps(1, 4, 7);
        next_ = kDot2;
        break;
      case kDot2:
        _tile_loadd(5, a_ + 8 * p.a_bytes, p.a_bytes);
        _tile_dpbf16ps(2, 5, 6);
        if (pair_) {
          next_ = kDot3;
          break;
        }
        NextStep();
        break;
      case kDot3:
        _tile_dpbf16ps(3, 5, 7);
        NextStep();
        break;
      case kStore0:
        _tile_stored(0, c_, p.c_bytes);
        next_ = pair_ ? kStore1 : kStore2;
        break;
      case kStore1:
        _tile_stored(1, c_ + 16, p.c_bytes);
        next_ = kStore2;
        break;
      case kStore2:
        _tile_stored(2, c1, p.c_bytes);
        next_ = kStore3;
        if (!pair_) End();
        break;
      case kStore3:
        _tile_stored(3, c1 + 16, p.c_bytes);
        End();
        break;
    }
  }
  void NextStep() {
    a_ += 32;
    b_ += kTile;
    next_ = --step_ > 0 ? kDot0 : kStore0;
  }

  TileProduct products_[2];
  int count_ = 0, current_ = 0;
  int64_t column_ = 0, step_ = 0, left_ = 0;
  const uint16_t* a_ = nullptr;
  const uint16_t* b_ = nullptr;
  float* c_ = nullptr;
  bool pair_ = false;
  Next next_ = kDot0;
};

}  // namespace
}  // namespace tiltshift::engine::simd
