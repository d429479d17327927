#include "kernels/emulation/shared_shadow.h"

namespace tiltshift::emulation {
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

// Several may have been at a cell at once, and the one that is remembered may be `who`.
bool SharedShadow::RacesWithWrite(const Cell& cell, const Accessor& who) {
  if (cell.writer == 0 || cell.write_block_phase != who.block_phase) return false;
  const bool same_warp = (cell.writer - 1) / 32 == who.warp();
  return cell.warps_wrote || !same_warp ||
         (cell.write_warp_phase == who.warp_phase &&
          (cell.lanes_wrote || cell.writer - 1 != who.thread));
}

bool SharedShadow::RacesWithRead(const Cell& cell, const Accessor& who) {
  if (cell.reader == 0 || cell.read_block_phase != who.block_phase) return false;
  const bool same_warp = (cell.reader - 1) / 32 == who.warp();
  return cell.warps_read || !same_warp ||
         (cell.read_warp_phase == who.warp_phase &&
          (cell.lanes_read || cell.reader - 1 != who.thread));
}

void SharedShadow::NoteWrite(Cell& cell, const Accessor& who) {
  cell.writer = static_cast<uint16_t>(who.thread + 1);
  cell.write_block_phase = who.block_phase;
  cell.write_warp_phase = who.warp_phase;
  cell.atomic = cell.lanes_wrote = cell.warps_wrote = false;
  cell.written = true;
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
    const bool race = RacesWithWrite(cell, who);
    NoteRead(cell, who);
    return race ? Verdict{Fault::kRace, cell.writer - 1} : Verdict{};
  });
}

SharedShadow::Verdict SharedShadow::Write(size_t offset, size_t bytes, const Accessor& who) {
  return ForCells(offset, bytes, [&](Cell& cell) {
    Verdict verdict;
    if (cell.pending) {
      verdict = {Fault::kPendingCopy, cell.writer - 1};
    } else if (RacesWithWrite(cell, who)) {
      verdict = {Fault::kRace, cell.writer - 1};
    } else if (RacesWithRead(cell, who)) {
      verdict = {Fault::kRace, cell.reader - 1};
    }
    NoteWrite(cell, who);
    cell.pending = false;
    return verdict;
  });
}

SharedShadow::Verdict SharedShadow::Atomic(size_t offset, size_t bytes, const Accessor& who) {
  return ForCells(offset, bytes, [&](Cell& cell) -> Verdict {
    if (cell.pending) return {Fault::kPendingCopy, cell.writer - 1};
    if (!cell.written) return {Fault::kUninitialised, -1};
    const bool together = cell.atomic && cell.write_block_phase == who.block_phase;
    if (!together && RacesWithWrite(cell, who)) return {Fault::kRace, cell.writer - 1};
    if (RacesWithRead(cell, who)) return {Fault::kRace, cell.reader - 1};
    // A plain write of its own just before stays one for the others.
    const bool plain = !cell.atomic && cell.writer - 1 == who.thread &&
                       cell.write_block_phase == who.block_phase &&
                       cell.write_warp_phase == who.warp_phase;
    const bool same_warp = together && (cell.writer - 1) / 32 == who.warp();
    const bool warps = together && (cell.warps_wrote || !same_warp);
    const bool lanes = same_warp && cell.write_warp_phase == who.warp_phase &&
                       (cell.lanes_wrote || cell.writer - 1 != who.thread);
    NoteWrite(cell, who);
    cell.atomic = !plain;
    cell.warps_wrote = warps;
    cell.lanes_wrote = lanes;
    return {};
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
