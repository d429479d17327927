// A real S3 server process for tests: moto's, from the Python environment that scripts/setup makes
// in build/s3-server. Its objects are in its memory: a restart forgets them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/support/process.h"

namespace tiltshift::tests {

class S3Server {
 public:
  // Why tests that need it must be skipped here; empty: they need not.
  static std::string Missing();

  // Serves an empty bucket "farm" on a port of the loopback. `options`: those of s3_server.py.
  explicit S3Server(const std::string& folder, std::vector<std::string> options = {});

  void Start();       // on the same port; returns when it listens
  void KillMinus9();  // returns when it is gone

  // "http://127.0.0.1:port", or "https://localhost:port" where the options name a certificate.
  std::string endpoint() const;
  // The pair that --auth made; without it, one that any server of this kind takes.
  std::string access_key() const { return access_key_; }
  std::string secret_key() const { return secret_key_; }
  // Sets the AWS_ variables of this process, and so of those it starts, to this server.
  void SetEnvironment() const;

 private:
  const std::string folder_;
  const std::vector<std::string> options_;
  const int port_;
  std::string access_key_ = "AKIAANYONE", secret_key_ = "SECRETOFANYONE";
  std::unique_ptr<Process> process_;
};

}  // namespace tiltshift::tests
