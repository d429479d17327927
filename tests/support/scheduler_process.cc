#include "tests/support/scheduler_process.h"

#include <unistd.h>

#include <atomic>

namespace tiltshift::tests {
namespace {

std::string FreshSocket() {
  static std::atomic<int> counter{0};
  return "/tmp/ts-scheduler-" + std::to_string(getpid()) + "-" + std::to_string(counter++);
}

}  // namespace

SchedulerProcess::SchedulerProcess(const std::string& folder, const std::string& redis,
                                   const std::vector<std::string>& more)
    : socket_(FreshSocket()) {
  std::vector<std::string> arguments = {Program("tiltshift-scheduler"),
                                        "--listen",
                                        address(),
                                        "--redis",
                                        redis,
                                        "--blobs",
                                        folder + "/blobs",
                                        "--lease-ttl-ms",
                                        "2000",
                                        "--heartbeat-ms",
                                        "200",
                                        "--leader-ttl-ms",
                                        "600"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  process_ = std::make_unique<Process>(arguments, folder);
}

SchedulerProcess::~SchedulerProcess() {
  process_.reset();
  unlink(socket_.c_str());
}

}  // namespace tiltshift::tests
