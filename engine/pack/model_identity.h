// Which files a model is now, told without reading them.
#pragma once

#include <string>

#include "base/status.h"

namespace tiltshift::engine {

// 64 hex characters that change with the name, size, times of change, or inode of any file that the
// engine would read of this folder. A file that was changed within the last tenth of a second is
// waited for: file systems' clocks tick every hundredth, and a second change within one tick would
// not show.
//
// Errors of the file system; NotFound where the folder has no weights.
absl::StatusOr<std::string> ModelIdentity(const std::string& folder);

}  // namespace tiltshift::engine
