#include "tests/support/append_only_file.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace tiltshift::tests {
namespace {

namespace fs = std::filesystem;

// "*3\r\n" with '*' -> 3; -1 at the end.
long ReadCount(std::istream& in, char kind) {
  std::string line;
  if (!std::getline(in, line) || line.empty() || line[0] != kind) return -1;
  return std::atol(line.c_str() + 1);
}

// False at the end.
bool ReadCommand(std::istream& in, std::vector<std::string>& words) {
  while (in.peek() == '#') {  // an annotation
    std::string line;
    std::getline(in, line);
  }
  const long count = ReadCount(in, '*');
  if (count < 0) return false;
  words.resize(static_cast<size_t>(count));
  for (std::string& word : words) {
    const long size = ReadCount(in, '$');
    if (size < 0) return false;
    word.resize(static_cast<size_t>(size));
    if (!in.read(word.data(), size) || !in.ignore(2)) return false;
  }
  return true;
}

}  // namespace

std::vector<std::string> AppendOnlyFiles(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code none;
  for (fs::directory_iterator it(folder + "/appendonlydir", none), end; it != end; ++it) {
    const std::string path = it->path().string();
    if (path.ends_with(".incr.aof")) files.push_back(path);
  }
  if (files.empty()) files.push_back(folder + "/appendonly.aof");  // Redis 6
  std::sort(files.begin(), files.end());
  return files;
}

void ReadAppendOnlyFile(const std::string& folder,
                        const std::function<void(const std::vector<std::string>&)>& see) {
  const std::vector<std::string> files = AppendOnlyFiles(folder);
  std::vector<std::string> words;
  for (const std::string& file : files) {
    std::ifstream in(file, std::ios::binary);
    while (ReadCommand(in, words)) see(words);
  }
}

}  // namespace tiltshift::tests
