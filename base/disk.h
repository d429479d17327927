// Room on a disk, asked before it is needed: a clear word early is better than a write that fails.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace tiltshift {

// What this user may still write to the file system of `path`, or of its nearest parent that
// exists: 0 where it can hold no more files.
absl::StatusOr<uint64_t> FreeBytes(const std::string& path);

// OK where `bytes` can be written and `keep_free` are left after that. ResourceExhausted says how
// much there is. 0 and 0 asks nothing of the disk.
absl::Status CheckRoom(const std::string& path, uint64_t bytes, uint64_t keep_free);

}  // namespace tiltshift
