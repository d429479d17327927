// Who touched which byte of a block's shared memory, and when: how races, missing barriers and
// reads of nothing are found.
//
// Time is counted in phases: a barrier of the block begins a new phase for all, a barrier of a warp
// one for its lanes. Two accesses of one cell by different threads, at least one a write, are a
// race unless a phase lies between: a block's, or the warp's when both are in it. So a race is
// found whatever order the threads happened to run in. Atomic accesses race with others that are
// not, never with each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tiltshift::emulation {

// Who accesses, and when.
struct Accessor {
  int thread = 0;  // in the block
  uint32_t block_phase = 0;
  uint32_t warp_phase = 0;

  int warp() const { return thread / 32; }
};

class SharedShadow {
 public:
  enum class Fault { kNone, kRace, kUninitialised, kPendingCopy };
  // The fault, and the thread that it is with (races).
  struct Verdict {
    Fault fault = Fault::kNone;
    int other = -1;
  };

  // All bytes untouched.
  void Reset(size_t bytes) { cells_.assign((bytes + kCellBytes - 1) / kCellBytes, Cell{}); }

  Verdict Read(size_t offset, size_t bytes, const Accessor& who);
  Verdict Write(size_t offset, size_t bytes, const Accessor& who);
  Verdict Atomic(size_t offset, size_t bytes, const Accessor& who);
  // An asynchronous copy into the range begins: until it lands nobody may touch it.
  Verdict BeginCopy(size_t offset, size_t bytes, const Accessor& who);
  Verdict LandCopy(size_t offset, size_t bytes, const Accessor& who);

 private:
  // Two bytes: no kernel here keeps single bytes in shared memory.
  static constexpr size_t kCellBytes = 2;

  struct Cell {
    // The latest write, and the latest read; threads are numbered from 1, 0 is nobody.
    uint32_t write_block_phase = 0;
    uint32_t write_warp_phase = 0;
    uint32_t read_block_phase = 0;
    uint32_t read_warp_phase = 0;
    uint16_t writer = 0;
    uint16_t reader = 0;
    // Lanes, or warps, beside the reader's read it in the same phase.
    bool lanes_read = false;
    bool warps_read = false;
    // The latest write was atomic; lanes, or warps, beside the writer's did one in the same phase.
    bool atomic = false;
    bool lanes_wrote = false;
    bool warps_wrote = false;
    bool written = false;
    bool pending = false;
  };

  static bool RacesWithWrite(const Cell& cell, const Accessor& who);
  static bool RacesWithRead(const Cell& cell, const Accessor& who);
  static void NoteWrite(Cell& cell, const Accessor& who);
  static void NoteRead(Cell& cell, const Accessor& who);
  template <class F>
  Verdict ForCells(size_t offset, size_t bytes, F visit);

  std::vector<Cell> cells_;
};

}  // namespace tiltshift::emulation
