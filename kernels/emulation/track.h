// What a tracked access goes through. Each says whether the access may be made; what is wrong with
// it goes to the card's findings.
#pragma once

#include <cstddef>

#include "kernels/emulation/block.h"

namespace tiltshift::emulation {

bool TrackShared(bool write, const void* address, size_t bytes, const Place& place);
bool TrackGlobal(bool write, const void* address, size_t bytes, const Place& place);
bool TrackSharedAtomic(const void* address, size_t bytes, const Place& place);
bool TrackGlobalAtomic(const void* address, size_t bytes, const Place& place);
// One row of 16 bytes that a lane names to ldmatrix; banks are counted for the whole warp at once.
bool TrackMatrixRow(const void* address, const Place& place);

// cp.async: `from_bytes` of `bytes` come from `from`, the rest is zeros.
void TrackedCopy(char* to, const char* from, int from_bytes, int bytes, const Place& place);
void CommitTrackedCopies();
// Lands all but the latest `pending` groups of the current thread.
void WaitTrackedCopies(int pending);

}  // namespace tiltshift::emulation
