// What a process gives up before it looks at a stranger's bytes.
#pragma once

#include "base/status.h"

namespace tiltshift::picture {

struct LockDownLimits {
  int cpu_seconds = 20;
  size_t memory_bytes = size_t{3} << 30;  // of addresses
};

// From here on this process, all its threads, can compute, take and give back memory, start
// threads, and read and write files that are open: no file is opened (EACCES), no socket, no other
// program; a system call beyond that kills it. No core is dumped, nobody of the same user may look
// into it. For good. FailedPrecondition where the kernel has no seccomp.
absl::Status LockDown(const LockDownLimits& limits);

}  // namespace tiltshift::picture
