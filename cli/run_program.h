// Another program of this build, run to its end for what it prints.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace tiltshift::cli {

// Standard output of `arguments[0]`, a path or a name to be found in PATH; its errors go where this
// process' go. Internal where it can't be started, ends with another exit code than 0, or is
// killed.
absl::StatusOr<std::string> RunProgram(const std::vector<std::string>& arguments);

}  // namespace tiltshift::cli
