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
<<<<<<< HEAD
  // Its files are in `folder`; `options` follow on its command line.
  explicit RedisServer(const std::string& folder, std::vector<std::string> options = {});
=======
  // Files below `folder`; `more`: further arguments.
  explicit RedisServer(const std::string& folder, const std::vector<std::string>& more = {});
>>>>>>> 18fd044 (store, scheduler: Redis with a login, and waits that grow)

  void Start();       // returns when it accepts connections
  void KillMinus9();  // returns when it is gone
  std::string address() const { return "unix:" + socket_; }

 private:
  const std::string folder_, socket_;
<<<<<<< HEAD
  const std::vector<std::string> options_;
=======
  const std::vector<std::string> more_;
>>>>>>> 18fd044 (store, scheduler: Redis with a login, and waits that grow)
  std::unique_ptr<Process> process_;
};

}  // namespace tiltshift::tests
