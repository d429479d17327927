// Real processes for tests: started, killed, waited for, their output read.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace tiltshift::tests {

class Process {
 public:
  // Standard output and errors go to files below `folder`.
  Process(const std::vector<std::string>& arguments, const std::string& folder);
  // Killed if it still runs.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void Signal(int signal) const;
  // Its exit code (128 + signal if killed), or -1 after `timeout_ms`.
  int Wait(int timeout_ms);
  bool Running();
  std::string Output() const;
  std::string Errors() const;
  pid_t pid() const { return pid_; }
  // The process whose name begins with `name` among the children; 0 where there is none.
  pid_t ChildCalled(const std::string& name) const;

 private:
  pid_t pid_;
  int status_ = 0;
  bool ended_ = false;
  std::string output_, errors_;
};

// A program of this build.
std::string Program(const std::string& name);

// A fresh folder below the test's temporary one, named after the running test.
std::string FreshFolder();

// Polls until `condition` is true; false after `timeout_ms`.
template <typename Condition>
bool WaitFor(Condition condition, int timeout_ms);

}  // namespace tiltshift::tests

#include <chrono>
#include <thread>

template <typename Condition>
bool tiltshift::tests::WaitFor(Condition condition, int timeout_ms) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}
