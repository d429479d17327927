// What a Redis wrote to its append-only file: every change it ever made, in order. A log that no
// process of the farm can forget or embellish.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace tiltshift::tests {

// The files in which the server that ran in `folder` wrote its changes, oldest first; at least one.
std::vector<std::string> AppendOnlyFiles(const std::string& folder);

// Calls `see` with each command of the server that ran in `folder`, oldest first; a function's
// effects stand there one by one. A command cut short by a kill ends it. The server must never
// have rewritten its file (auto-aof-rewrite-percentage 0).
void ReadAppendOnlyFile(const std::string& folder,
                        const std::function<void(const std::vector<std::string>&)>& see);

}  // namespace tiltshift::tests
