// The versions of the protocol between scheduler and worker (proto/worker.proto). A session is in
// the newest that both speak; this program speaks the one before its own too, so that the two may
// be upgraded in any order. A session's protocol says which fields are there; none is asked for
// that a later protocol has, and what a side does not know it ignores.
//
// 1: sessions, turns, heartbeats. 2: outcomes tell where the time went, heartbeats how the device
// is.
#pragma once

#include <cstdint>

namespace tiltshift {

constexpr uint32_t kProtocol = 2, kOldestProtocol = 1;

}  // namespace tiltshift
