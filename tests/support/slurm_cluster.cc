#include "tests/support/slurm_cluster.h"

#include <gtest/gtest.h>
#include <pwd.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/support/scrape.h"

namespace tiltshift::tests {
namespace {

constexpr int kPatienceMs = 60'000;

// Where a program is: Debian's daemons stand where a user's PATH does not look.
std::string Find(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::string folders = std::string(path == nullptr ? "" : path) + ":/usr/sbin:/usr/local/sbin";
  for (size_t at = 0; at != std::string::npos;) {
    const size_t colon = folders.find(':', at);
    const std::string file = folders.substr(at, colon - at) + "/" + program;
    if (access(file.c_str(), X_OK) == 0) return file;
    at = colon == std::string::npos ? colon : colon + 1;
  }
  return "";
}

std::string ShortHostName() {
  char name[256] = {0};
  gethostname(name, sizeof(name) - 1);
  const std::string host = name;
  return host.substr(0, host.find('.'));
}

}  // namespace

std::string SlurmCluster::Missing() {
  for (const char* program : {"slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo"}) {
    if (Find(program).empty())
      return std::string("there is no ") + program +
             ": Slurm is not installed; scripts/setup does it, or says why it can't";
  }
  return "";
}

SlurmCluster::SlurmCluster(const std::string& folder, int cpus) : folder_(folder + "/slurm") {
  for (const char* below : {"/state", "/spool"})
    std::filesystem::create_directories(folder_ + below);
  const std::string host = ShortHostName(), user = getpwuid(getuid())->pw_name;
  const std::string file = folder_ + "/slurm.conf";
  std::ofstream(file) << "ClusterName=test\n"
                      << "SlurmctldHost=" << host << "(127.0.0.1)\n"
                      << "SlurmUser=" << user << "\nSlurmdUser=" << user << "\n"
                      << "SlurmctldPort=" << FreePort() << "\nSlurmdPort=" << FreePort() << "\n"
                      << "AuthType=auth/none\nCredType=cred/none\n"
                      << "StateSaveLocation=" << folder_ << "/state\n"
                      << "SlurmdSpoolDir=" << folder_ << "/spool\n"
                      << "SlurmctldPidFile=" << folder_ << "/slurmctld.pid\n"
                      << "SlurmdPidFile=" << folder_ << "/slurmd.pid\n"
                      << "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n"
                      << "SelectType=select/cons_tres\nSelectTypeParameters=CR_Core\n"
                      << "SchedulerParameters=sched_min_interval=100000\n"
                      << "ReturnToService=2\nKillWait=30\nMailProg=/bin/true\n"
                      << "SlurmdParameters=config_overrides\n"
                      << "NodeName=" << host << " NodeAddr=127.0.0.1 CPUs=" << cpus << "\n"
                      << "PartitionName=farm Nodes=" << host << " Default=YES State=UP\n";
  // Nothing here uses control groups; this plugin starts without them as well, as in a container.
  std::ofstream(folder_ + "/cgroup.conf") << "CgroupPlugin=cgroup/v1\n";
  setenv("SLURM_CONF", file.c_str(), 1);
  controller_ =
      std::make_unique<Process>(std::vector<std::string>{Find("slurmctld"), "-D"}, folder_);
  node_ = std::make_unique<Process>(std::vector<std::string>{Find("slurmd"), "-D"}, folder_);
  EXPECT_TRUE(WaitFor(
      [&] {
        Process info({Find("sinfo"), "--noheader", "--format=%T"}, folder_);
        return info.Wait(kPatienceMs) == 0 && info.Output() == "idle\n";
      },
      kPatienceMs))
      << controller_->Errors() << node_->Errors();
}

SlurmCluster::~SlurmCluster() {
  for (auto* daemon : {&node_, &controller_}) {
    (*daemon)->Signal(SIGTERM);
    (*daemon)->Wait(kPatienceMs);
  }
  unsetenv("SLURM_CONF");
}

std::string SlurmCluster::Run(const std::vector<std::string>& command) const {
  Process process(command, folder_);
  EXPECT_EQ(process.Wait(kPatienceMs), 0) << command[0] << ": " << process.Errors();
  std::string output = process.Output();
  while (!output.empty() && std::isspace(static_cast<unsigned char>(output.back())))
    output.pop_back();
  return output;
}

}  // namespace tiltshift::tests
