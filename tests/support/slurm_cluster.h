// A real Slurm for tests: one slurmctld, and one slurmd that lends out this machine. Everything of
// theirs is below the test's folder, with ports of their own; nobody authenticates.
#pragma once

#include <memory>
#include <string>

#include "tests/support/process.h"

namespace tiltshift::tests {

class SlurmCluster {
 public:
  // Why tests that need it must be skipped here; empty: they need not.
  static std::string Missing();

  // Returns when it takes jobs. Sets SLURM_CONF of this process, and so of those it starts: sbatch,
  // squeue and their like talk to this cluster.
  SlurmCluster(const std::string& folder, int cpus);
  ~SlurmCluster();

  // What one of Slurm's commands prints, white space at the end left out; a failed expectation
  // where it fails.
  std::string Run(const std::vector<std::string>& command) const;

 private:
  const std::string folder_;
  std::unique_ptr<Process> controller_, node_;
};

}  // namespace tiltshift::tests
