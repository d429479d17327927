#include "tests/support/traces.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

namespace tiltshift::tests {
namespace {

bool Holds(const std::string& bytes, const std::vector<std::string>& marks) {
  return std::any_of(marks.begin(), marks.end(), [&](const std::string& mark) {
    const std::boyer_moore_horspool_searcher searcher(mark.begin(), mark.end());
    return std::search(bytes.begin(), bytes.end(), searcher) != bytes.end();
  });
}

}  // namespace

std::vector<std::string> FilesWith(const std::vector<std::string>& marks,
                                   const std::string& folder) {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    std::ostringstream bytes;
    bytes << in.rdbuf();
    if (Holds(bytes.str(), marks)) found.push_back(entry.path().string());
  }
  return found;
}

bool MemoryHolds(const std::vector<std::string>& marks, pid_t pid) {
  const std::string proc = "/proc/" + std::to_string(pid);
  std::ifstream maps(proc + "/maps");
  const int memory = open((proc + "/mem").c_str(), O_RDONLY);
  EXPECT_GE(memory, 0);
  size_t seen = 0;
  bool found = false;
  for (std::string line; std::getline(maps, line) && !found;) {
    uint64_t from = 0, to = 0;
    char rights[5] = {};
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %4s", &from, &to, rights) != 3 ||
        rights[0] != 'r' || rights[1] != 'w')
      continue;
    std::string bytes(to - from, '\0');
    const ssize_t count = pread(memory, bytes.data(), bytes.size(), static_cast<off_t>(from));
    bytes.resize(count > 0 ? static_cast<size_t>(count) : 0);
    seen += bytes.size();
    found = Holds(bytes, marks);
  }
  close(memory);
  EXPECT_GT(seen, 1'000'000u) << "the memory of " << pid << " could not be read";
  return found;
}

}  // namespace tiltshift::tests
