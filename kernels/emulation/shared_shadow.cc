#include "kernels/emulation/shared_shadow.h"

namespace tiltshift::emulation {
namespace {

// Whether an access at (block_phase, warp_phase) by thread `by` (from 0) is unordered with `who`'s.
bool Unordered(int by, uint32_t block_phase, uint32_t warp_phase, const Accessor& who) {
  if (by == who.thread || block_phase != who.block_phase) return false;
  return by / 32 != who.warp() || warp_phase == who.warp_phase;
}

}  // namespace

template <class F>
SharedShadow::Verdict SharedShadow::ForCells(size_t offset, size_t bytes, F visit) {
  Verdict first;
  const size_t end = (offset + bytes + kCellBytes - 1) / kCellBytes;
  for (size_t i = offset / kCellBytes; i < end; ++i) {
    const Verdict verdict = visit(cells_[i]);
    if (first.fault == Fault::kNone) first = verdict;
  }
  return first;
}

SharedShadow::Verdict SharedShadow::CheckWrite(const Cell& cell, const Accessor& who) {
  if (cell.pending) return {Fault::kPendingCopy, cell.writer - 1};
  if (cell.writer != 0 &&
      Unordered(cell.writer - 1, cell.write_block_phase, cell.write_warp_phase, who)) {
    return {Fault::kRace, cell.writer - 1};
  }
  if (cell.reader == 0 || cell.read_block_phase != who.block_phase) return {};
  // Where several read it, the one that is remembered may be `who` itself.
  const bool same_warp = (cell.reader - 1) / 32 == who.warp();
  if (cell.warps_read || !same_warp ||
      (cell.read_warp_phase == who.warp_phase &&
       (cell.lanes_read || cell.reader - 1 != who.thread))) {
    return {Fault::kRace, cell.reader - 1};
  }
  return {};
}

void SharedShadow::NoteRead(Cell& cell, const Accessor& who) {
  const bool same_phase = cell.reader != 0 && cell.read_block_phase == who.block_phase;
  const bool same_warp = same_phase && (cell.reader - 1) / 32 == who.warp();
  cell.warps_read = same_phase && (cell.warps_read || !same_warp);
  cell.lanes_read = same_warp && cell.read_warp_phase == who.warp_phase &&
                    (cell.lanes_read || cell.reader - 1 != who.thread);
  cell.reader = static_cast<uint16_t>(who.thread + 1);
  cell.read_block_phase = who.block_phase;
  cell.read_warp_phase = who.warp_phase;
}

SharedShadow::Verdict SharedShadow::Read(size_t offset, size_t bytes, const Accessor& who) {
  return ForCells(offset, bytes, [&](Cell& cell) -> Verdict {
    if (cell.pending) return {Fault::kPendingCopy, cell.writer - 1};
    if (!cell.written) return {Fault::kUninitialised, -1};
    const bool race =
        Unordered(cell.writer - 1, cell.write_block_phase, cell.write_warp_phase, who);
    NoteRead(cell, who);
    return race ? Verdict{Fault::kRace, cell.writer - 1} : Verdict{};
  });
}

SharedShadow::Verdict SharedShadow::Write(size_t offset, size_t bytes, const Accessor& who) {
  return ForCells(offset, bytes, [&](Cell& cell) -> Verdict {
    const Verdict verdict = CheckWrite(cell, who);
    cell.writer = static_cast<uint16_t>(who.thread + 1);
    cell.write_block_phase = who.block_phase;
    cell.write_warp_phase = who.warp_phase;
    cell.written = true;
    cell.pending = false;
    return verdict;
  });
}

SharedShadow::Verdict SharedShadow::BeginCopy(size_t offset, size_t bytes, const Accessor& who) {
  const Verdict verdict = Write(offset, bytes, who);
  ForCells(offset, bytes, [&](Cell& cell) -> Verdict {
    cell.pending = true;
    return {};
  });
  return verdict;
}

SharedShadow::Verdict SharedShadow::LandCopy(size_t offset, size_t bytes, const Accessor& who) {
  ForCells(offset, bytes, [&](Cell& cell) -> Verdict {
    cell.pending = false;
    return {};
  });
  return Write(offset, bytes, who);
}

}  // namespace tiltshift::emulation
