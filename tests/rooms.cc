#include "tests/rooms.h"

#include <regex>
#include <sstream>

namespace tiltshift::tests {
namespace {

std::vector<std::string> Words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

bool StartsWith(const std::string& text, const std::string& prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

bool IsTestSource(const std::string& path) {
  static const std::regex test_name(R"(.*_(test|bench|fuzz)\.(cc|h)$)");
  return std::regex_match(path, test_name);
}

// The text between <> or "" of each include, in order.
std::vector<std::string> Includes(const std::string& source) {
  static const std::regex include(R"re(^[ \t]*#[ \t]*include[ \t]*[<"]([^>"]+)[>"])re");
  std::istringstream in(source);
  std::vector<std::string> found;
  std::smatch match;
  for (std::string line; std::getline(in, line);) {
    if (std::regex_search(line, match, include)) found.push_back(match[1]);
  }
  return found;
}

std::string FirstPart(const std::string& path) { return path.substr(0, path.find('/')); }

void CheckRoom(const RoomRules& rules, const std::string& path, const std::string& include,
               std::vector<std::string>& violations) {
  const std::string room = FirstPart(path);
  const std::string other = FirstPart(include);
  if (other == room || include.find('/') == std::string::npos) return;
  if (rules.may_include.count(other) == 0) return;  // not a room of ours
  if (StartsWith(include, "tests/support/") && IsTestSource(path)) return;
  const auto rule = rules.may_include.find(room);
  if (rule == rules.may_include.end()) {
    violations.push_back(path + " is in no room that tests/rooms.txt knows");
  } else if (rule->second.count("*") == 0 && rule->second.count(other) == 0) {
    violations.push_back(path + " includes " + include + ": " + room + " may not include " + other);
  }
}

void CheckLibraries(const RoomRules& rules, const std::string& path, const std::string& include,
                    std::vector<std::string>& violations) {
  for (const auto& [prefix, places] : rules.library_places) {
    if (!StartsWith(include, prefix)) continue;
    bool allowed = false;
    for (const auto& place : places) allowed = allowed || StartsWith(path, place);
    if (!allowed)
      violations.push_back(path + " includes " + include + ", which belongs in " + places[0]);
  }
}

}  // namespace

RoomRules ParseRoomRules(const std::string& text) {
  RoomRules rules;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    const size_t colon = line.find(':');
    if (line.empty() || line[0] == '#' || colon == std::string::npos) continue;
    const auto head = Words(line.substr(0, colon));
    const auto rest = Words(line.substr(colon + 1));
    if (head.size() != 2) continue;
    if (head[0] == "room") rules.may_include[head[1]] = {rest.begin(), rest.end()};
    if (head[0] == "library") rules.library_places[head[1]] = rest;
  }
  return rules;
}

std::vector<std::string> RoomViolations(const RoomRules& rules, const std::string& path,
                                        const std::string& source) {
  std::vector<std::string> violations;
  for (const auto& include : Includes(source)) {
    CheckRoom(rules, path, include, violations);
    CheckLibraries(rules, path, include, violations);
  }
  return violations;
}

std::vector<std::string> TargetViolations(const std::string& room, const std::string& cmake) {
  static const std::regex target(R"(tiltshift_room\(\s*([A-Za-z0-9_]+))");
  std::vector<std::string> violations;
  int targets = 0;
  for (std::sregex_iterator it(cmake.begin(), cmake.end(), target), end; it != end;
       ++it, ++targets) {
    if ((*it)[1] != room)
      violations.push_back(room + "/CMakeLists.txt makes the room " + (*it)[1].str());
  }
  if (targets != 1) {
    violations.push_back(room + "/CMakeLists.txt makes " + std::to_string(targets) +
                         " rooms, not one");
  }
  return violations;
}

}  // namespace tiltshift::tests
