#include "bench/peers.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace tiltshift::engine {
namespace {

const std::map<std::string, std::string> kPackages = {{"torch", "torch, diffusers"},
                                                      {"openvino", "torch, diffusers, openvino"}};

std::string Quoted(const std::string& text) {
  return absl::StrCat("'", absl::StrJoin(absl::StrSplit(text, '\''), "'\\''"), "'");
}

std::vector<std::string> Pythons(const PeerSettings& settings) {
  if (!settings.pythons.empty()) return settings.pythons;
  const char* named = std::getenv("TILTSHIFT_PEER_PYTHON");
  if (named != nullptr && *named != '\0') return absl::StrSplit(named, ':');
  return {"python3"};
}

bool Has(const std::string& python, const std::string& packages) {
  return std::system(absl::StrCat(Quoted(python), " -c 'import ", packages, "' >/dev/null 2>&1").c_str()) == 0;
}

// A line "NAME VERSION PRECISION forward|decode SECONDS", or another.
void ReadLine(const std::string& line, PeerResult* result) {
  std::istringstream words(line);
  std::string name, version, precision, what;
  double seconds = 0;
  if (!(words >> name >> version >> precision >> what >> seconds) || name != result->peer) return;
  result->name = absl::StrCat(name, " ", version);
  if (what == "forward") result->forward = seconds;
  if (what == "decode") result->decode = seconds;
}

PeerResult RunPeer(const PeerSettings& settings, const std::string& peer, const std::string& python) {
  PeerResult result{.peer = peer, .name = peer};
  const std::string command =
      absl::StrCat(Quoted(python), " ", Quoted(settings.source_dir + "/bench/peers/sd15.py"), " ", peer, " ",
                   settings.bf16 ? "bf16" : "fp32", " ", settings.threads, " ", settings.size, " ", settings.runs,
                   " 2>&1");
  FILE* child = popen(command.c_str(), "r");
  if (child == nullptr) {
    result.skipped = "cannot start " + python;
    return result;
  }
  std::string line, last;
  for (int c; (c = std::fgetc(child)) != EOF;) {
    if (c != '\n') {
      line += static_cast<char>(c);
      continue;
    }
    ReadLine(line, &result);
    if (line.starts_with(peer)) settings.progress(line);
    last = std::exchange(line, "");
  }
  const int status = pclose(child);
  if (status != 0 || result.forward == 0 || result.decode == 0) {
    result.skipped = absl::StrCat("failed with status ", status, ", its last line: ", last, "\n  ", command);
  }
  return result;
}

}  // namespace

namespace {

std::string NotFound(const std::string& packages, const std::vector<std::string>& pythons) {
  return absl::StrCat("not found: ", absl::StrJoin(pythons, ", "), " cannot import ", packages,
                      ". Make one that can, and name it:\n  python3 -m venv peers && peers/bin/pip install ",
                      absl::StrReplaceAll(packages, {{",", ""}}), "\n  engine_bench ... --peer-python peers/bin/python");
}

}  // namespace

std::vector<PeerResult> RunPeers(const PeerSettings& settings) {
  const std::vector<std::string> pythons = Pythons(settings);
  std::vector<PeerResult> results;
  for (const std::string& peer : settings.peers) {
    const std::string& packages = kPackages.at(peer);
    const std::string* found = nullptr;
    settings.progress(absl::StrCat(peer, ": looking for ", packages));
    for (const std::string& python : pythons) {
      if (found == nullptr && Has(python, packages)) found = &python;
    }
    if (found == nullptr) {
      results.push_back({.peer = peer, .name = peer, .skipped = NotFound(packages, pythons)});
    } else {
      results.push_back(RunPeer(settings, peer, *found));
    }
  }
  return results;
}

}  // namespace tiltshift::engine
