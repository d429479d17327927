// A worker of this build.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/support/process.h"

namespace tiltshift::tests {

// One that renders nothing, in two slots, with the scheduler's blobs below `folder`; `more`:
// further options, or others in place of these. Does not wait until it is there.
std::unique_ptr<Process> StartWorker(const std::string& folder, const std::string& schedulers,
                                     const std::vector<std::string>& more = {});

}  // namespace tiltshift::tests
