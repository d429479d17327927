// A private redis-server with an append-only file, on a unix socket, for tests: can be killed and
// come back.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/support/process.h"

namespace tiltshift::tests {

class RedisServer {
 public:
  // Its files are in `folder`; `options` follow on its command line.
  explicit RedisServer(const std::string& folder, std::vector<std::string> options = {});

  void Start();       // returns when it accepts connections
  void KillMinus9();  // returns when it is gone
  // Whether the installed one knows FUNCTION: Redis 7 does.
  static bool HasFunctions();
  bool Running() { return process_->Running(); }
  std::string address() const { return "unix:" + socket_; }
  pid_t pid() const { return process_->pid(); }

 private:
  const std::string folder_, socket_;
  const std::vector<std::string> options_;
  std::unique_ptr<Process> process_;
};

}  // namespace tiltshift::tests
