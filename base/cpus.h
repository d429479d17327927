// Processors that a thread is kept to. On a machine of few cores the kernel leaves threads that
// wake each other on one of them, full, while others idle; who has looked may do better.
#pragma once

#include <sched.h>

#include <string_view>

#include "base/status.h"

namespace tiltshift {

class Cpus {
 public:
  // As taskset and Redis' server_cpulist write them: "0", "2-3,6"; empty: any. InvalidArgument for
  // what is no such list, or names one that this process may not use.
  static absl::StatusOr<Cpus> Parse(std::string_view list);

  // The calling thread runs on them, and the threads that it makes from now on.
  void Keep() const;

 private:
  cpu_set_t set_ = {};
  bool any_ = true;
};

}  // namespace tiltshift
