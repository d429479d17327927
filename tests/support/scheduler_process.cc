#include "tests/support/scheduler_process.h"

#include <unistd.h>

#include <atomic>
#include <map>

namespace tiltshift::tests {
namespace {

std::string FreshSocket() {
  static std::atomic<int> counter{0};
  return "unix:/tmp/ts-scheduler-" + std::to_string(getpid()) + "-" + std::to_string(counter++);
}

}  // namespace

SchedulerProcess::SchedulerProcess(const std::string& folder, const std::string& redis,
                                   const std::vector<std::string>& more) {
  std::map<std::string, std::string> options = {
      {"--listen", FreshSocket()}, {"--redis", redis},        {"--blobs", folder + "/blobs"},
      {"--lease-ttl-ms", "60000"}, {"--heartbeat-ms", "200"}, {"--leader-ttl-ms", "600"}};
  for (size_t i = 0; i + 1 < more.size(); i += 2) options[more[i]] = more[i + 1];
  address_ = options["--listen"];
  std::vector<std::string> arguments = {Program("tiltshift-scheduler")};
  for (const auto& [option, value] : options) arguments.insert(arguments.end(), {option, value});
  process_ = std::make_unique<Process>(arguments, folder);
}

bool SchedulerProcess::Leads(int times) {
  const auto led = [&] {
    const std::string output = process_->Output();
    int count = 0;
    for (size_t at = 0; (at = output.find("leading: epoch", at)) != std::string::npos; ++at)
      ++count;
    return count;
  };
  return WaitFor([&] { return led() >= times; }, 20'000);
}

SchedulerProcess::~SchedulerProcess() {
  process_.reset();
  if (address_.starts_with("unix:")) unlink(address_.c_str() + 5);
}

}  // namespace tiltshift::tests
