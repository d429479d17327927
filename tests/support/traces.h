// Searches for bytes that must not be anywhere: in files, and in a process' memory.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace tiltshift::tests {

// The files below `folder`, whatever they are called, that hold one of `marks`.
std::vector<std::string> FilesWith(const std::vector<std::string>& marks,
                                   const std::string& folder);

// Whether the process' writable memory holds one of them. It must be this user's.
bool MemoryHolds(const std::vector<std::string>& marks, pid_t pid);

}  // namespace tiltshift::tests
