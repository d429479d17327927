#include "tests/support/worker_process.h"

#include <map>

namespace tiltshift::tests {

std::unique_ptr<Process> StartWorker(const std::string& folder, const std::string& schedulers,
                                     const std::vector<std::string>& more) {
  std::map<std::string, std::string> options = {{"--scheduler", schedulers},
                                                {"--blobs", folder + "/blobs"},
                                                {"--render", "noop"},
                                                {"--slots", "2"},
                                                {"--keep-free", "0"}};
  for (size_t i = 0; i + 1 < more.size(); i += 2) options[more[i]] = more[i + 1];
  std::vector<std::string> arguments = {Program("tiltshift-worker")};
  for (const auto& [option, value] : options) arguments.insert(arguments.end(), {option, value});
  return std::make_unique<Process>(arguments, folder);
}

}  // namespace tiltshift::tests
