// A child process that can't outlive this one: killed with its parent, in a process group of its
// own so that the terminal's Ctrl-C reaches only the parent, which ends its children in order.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/status.h"

namespace tiltshift::cli {

class ChildProcess {
 public:
  // `arguments[0]` is the program: a path, or a name to be found in PATH. Output and errors are
  // appended to `log`. `environment`: variables ("NAME=value") beside this process' own. The
  // calling thread must live as long as the child may: the kernel kills the child when that thread
  // ends.
  static absl::StatusOr<ChildProcess> Start(const std::vector<std::string>& arguments,
                                            const std::string& log,
                                            const std::vector<std::string>& environment = {});

  pid_t pid() const { return pid_; }
  // True once it has ended; `how` then says how: "exit code 1", "signal 9".
  bool Ended(std::string& how);
  // SIGTERM, then SIGKILL after `patience_ms`; returns when it is gone.
  void Stop(int patience_ms);

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}
  pid_t pid_;
  bool ended_ = false;
};

}  // namespace tiltshift::cli
