// What else renders the same shapes on this machine, run beside ours: bench/peers/sd15.py, in a Python that has the
// peer's packages.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace tiltshift::engine {

struct PeerSettings {
  std::string source_dir;            // the repository
  std::vector<std::string> pythons;  // to look in, in this order; none: $TILTSHIFT_PEER_PYTHON (colons between), python3
  std::vector<std::string> peers = {"torch", "openvino"};
  bool bf16 = true;
  int threads = 2, size = 512, runs = 4;
  std::function<void(const std::string&)> progress = [](const std::string&) {};  // what is being done, a line each
};

struct PeerResult {
  std::string peer;     // as asked for
  std::string name;     // with its version, where it ran
  std::string skipped;  // why it did not, and what to do about that
  double forward = 0, decode = 0;  // seconds
};

std::vector<PeerResult> RunPeers(const PeerSettings& settings);

}  // namespace tiltshift::engine
