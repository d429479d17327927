#include "kernels/emulation/track.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/emulation/card.h"

namespace tiltshift::emulation {
namespace {

void Report(FindingKind kind, const Place& place, const std::string& what) {
  const Block& block = *current->block;
  TheCard().findings().Add(kind, block.grid().kernel, place, block.Who(*current) + ": " + what);
}

Accessor Me() { return {current->linear, current->block->phase(), current->warp->phase}; }

bool Aligned(const void* address, size_t bytes, const Place& place) {
  const auto offset = reinterpret_cast<uintptr_t>(address) % bytes;
  if (offset == 0) return true;
  Report(FindingKind::kMisaligned, place,
         "an access of " + std::to_string(bytes) + " bytes, " + std::to_string(offset) +
             " off its alignment");
  return false;
}

bool InShared(const void* address, size_t bytes, const Place& place) {
  Block& block = *current->block;
  const int64_t offset = static_cast<const char*>(address) - block.shared();
  const int64_t limit = static_cast<int64_t>(block.grid().shape.shared_bytes);
  if (offset >= 0 && offset + static_cast<int64_t>(bytes) <= limit) return true;
  Report(FindingKind::kOutOfBounds, place,
         "shared bytes [" + std::to_string(offset) + ", +" + std::to_string(bytes) + ") of " +
             std::to_string(limit));
  return false;
}

void ReportShared(const SharedShadow::Verdict& verdict, bool write, size_t offset,
                  const Place& place) {
  const std::string at = "shared byte " + std::to_string(offset);
  switch (verdict.fault) {
    case SharedShadow::Fault::kNone:
      return;
    case SharedShadow::Fault::kRace:
      return Report(FindingKind::kRace, place,
                    (write ? "writes " : "reads ") + at + " without a barrier after thread " +
                        std::to_string(verdict.other));
    case SharedShadow::Fault::kUninitialised:
      return Report(FindingKind::kUninitialised, place,
                    "reads " + at + ", which nothing has written");
    case SharedShadow::Fault::kPendingCopy:
      return Report(FindingKind::kPendingCopy, place,
                    at + " awaits a copy of thread " + std::to_string(verdict.other));
  }
}

Allocation* InGlobal(const void* address, size_t bytes, const Place& place) {
  Allocation* allocation = TheCard().memory().Find(address, bytes);
  if (allocation == nullptr) {
    Report(FindingKind::kOutOfBounds, place,
           std::to_string(bytes) + " bytes of global memory that no allocation holds");
  }
  return allocation;
}

bool CheckGlobal(bool write, const void* address, size_t bytes, const Place& place) {
  Allocation* allocation = InGlobal(address, bytes, place);
  if (allocation == nullptr) return false;
  if (write) {
    DeviceMemory::MarkWritten(*allocation, address, bytes);
  } else if (!DeviceMemory::Written(*allocation, address, bytes)) {
    Report(FindingKind::kUninitialised, place,
           "reads byte " + std::to_string(static_cast<const char*>(address) - allocation->begin) +
               " of an allocation, which nothing has written");
  }
  return true;
}

int64_t SharedOffset(const void* address) {
  return static_cast<const char*>(address) - current->block->shared();
}

void Log(Access access, size_t bytes, int64_t address, const Place& place) {
  current->warp->log.Add(access, static_cast<int>(bytes), current->lane, address, place);
}

}  // namespace

bool TrackShared(bool write, const void* address, size_t bytes, const Place& place) {
  if (!InShared(address, bytes, place) || !Aligned(address, bytes, place)) return false;
  const int64_t offset = SharedOffset(address);
  SharedShadow& shadow = current->block->shadow();
  ReportShared(write ? shadow.Write(offset, bytes, Me()) : shadow.Read(offset, bytes, Me()), write,
               offset, place);
  Log(write ? Access::kSharedStore : Access::kSharedLoad, bytes, offset, place);
  return true;
}

bool TrackSharedAtomic(const void* address, size_t bytes, const Place& place) {
  if (!InShared(address, bytes, place) || !Aligned(address, bytes, place)) return false;
  const int64_t offset = SharedOffset(address);
  ReportShared(current->block->shadow().Atomic(offset, bytes, Me()), true, offset, place);
  Log(Access::kSharedAtomic, bytes, offset, place);
  return true;
}

bool TrackGlobalAtomic(const void* address, size_t bytes, const Place& place) {
  if (!Aligned(address, bytes, place) || !CheckGlobal(false, address, bytes, place)) return false;
  Log(Access::kGlobalAtomic, bytes, reinterpret_cast<int64_t>(address), place);
  return true;
}

bool TrackMatrixRow(const void* address, const Place& place) {
  constexpr size_t kRowBytes = 16;
  if (!InShared(address, kRowBytes, place) || !Aligned(address, kRowBytes, place)) return false;
  const int64_t offset = SharedOffset(address);
  ReportShared(current->block->shadow().Read(offset, kRowBytes, Me()), false, offset, place);
  return true;
}

bool TrackGlobal(bool write, const void* address, size_t bytes, const Place& place) {
  if (!Aligned(address, bytes, place) || !CheckGlobal(write, address, bytes, place)) return false;
  Log(write ? Access::kGlobalStore : Access::kGlobalLoad, bytes, reinterpret_cast<int64_t>(address),
      place);
  return true;
}

void TrackedCopy(char* to, const char* from, int from_bytes, int bytes, const Place& place) {
  if (!InShared(to, bytes, place) || !Aligned(to, bytes, place)) return;
  if (from_bytes > 0) {
    if (!Aligned(from, bytes, place) || !CheckGlobal(false, from, from_bytes, place)) return;
    Log(Access::kCopyFrom, bytes, reinterpret_cast<int64_t>(from), place);
  }
  const int64_t offset = SharedOffset(to);
  ReportShared(current->block->shadow().BeginCopy(offset, bytes, Me()), true, offset, place);
  Log(Access::kCopyTo, bytes, offset, place);
  current->copies.push_back({to, from, bytes, from_bytes, current->copy_group});
}

void CommitTrackedCopies() { ++current->copy_group; }

void WaitTrackedCopies(int pending) {
  Thread& thread = *current;
  const int landed = thread.copy_group - pending;
  const auto lands = [&](const PendingCopy& copy) { return copy.group < landed; };
  for (const PendingCopy& copy : thread.copies) {
    if (!lands(copy)) continue;
    std::memcpy(copy.to, copy.from, copy.from_bytes);
    std::memset(copy.to + copy.from_bytes, 0, copy.bytes - copy.from_bytes);
    thread.block->shadow().LandCopy(SharedOffset(copy.to), copy.bytes, Me());
  }
  thread.copies.erase(std::remove_if(thread.copies.begin(), thread.copies.end(), lands),
                      thread.copies.end());
}

}  // namespace tiltshift::emulation
