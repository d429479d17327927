// A scheduler of this build on a unix socket of its own. Its lead passes on soon; its leases
// outlive every test, so that a busy machine ends none: who tests their end gives them less.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/support/process.h"

namespace tiltshift::tests {

class SchedulerProcess {
 public:
  // Blobs and logs below `folder`; `more`: further options, or others in place of the usual ones.
  // Does not wait until it serves, nor until it leads.
  SchedulerProcess(const std::string& folder, const std::string& redis,
                   const std::vector<std::string>& more = {});
  // Killed if it still runs, and its socket with it.
  ~SchedulerProcess();

  // Waits until it has led so often.
  bool Leads(int times = 1);
  const std::string& address() const { return address_; }
  Process& process() { return *process_; }

 private:
  std::string address_;
  std::unique_ptr<Process> process_;
};

}  // namespace tiltshift::tests
