// A short folder for the unix sockets of a private farm, whose paths have at most 107 characters:
// tiltshift-XXXXXX below $XDG_RUNTIME_DIR, or below /tmp. It holds `lock`, which every process that
// was started since holds open and locked, so that whoever finds the folder can tell whether anyone
// still lives in it.
#pragma once

#include <string>

#include "base/status.h"

namespace tiltshift::cli {

class SocketFolder {
 public:
  // Makes one, and removes those that killed farms of this user left behind: a folder is removed
  // where it is this user's alone, its lock is there and free, and it holds nothing but sockets of
  // ours.
  static absl::StatusOr<SocketFolder> Make();

  SocketFolder() = default;
  SocketFolder(SocketFolder&& other) noexcept;
  SocketFolder& operator=(SocketFolder&& other) noexcept;
  // Removes the folder: the farm is gone.
  ~SocketFolder();

  std::string redis() const { return path_ + "/redis"; }
  std::string scheduler() const { return path_ + "/scheduler"; }

 private:
  std::string path_;
  int lock_ = -1;
};

}  // namespace tiltshift::cli
