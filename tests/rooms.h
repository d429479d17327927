// The rule that keeps layers from leaking upward: which folder's sources may include which folder's
// headers, and which library's headers may stand in which files. The rules are data
// (tests/rooms.txt); this reads them and lists what breaks them.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

namespace tiltshift::tests {

struct RoomRules {
  std::map<std::string, std::set<std::string>> may_include;  // room -> rooms; "*" is all
  std::map<std::string, std::vector<std::string>>
      library_places;  // include prefix -> file prefixes
};

RoomRules ParseRoomRules(const std::string& text);

// One sentence a violation, for the source `path` (relative to the repository) with the text
// `source`.
std::vector<std::string> RoomViolations(const RoomRules& rules, const std::string& path,
                                        const std::string& source);

// One sentence a violation of "one CMake target a folder": `cmake` is the text of
// ROOM/CMakeLists.txt.
std::vector<std::string> TargetViolations(const std::string& room, const std::string& cmake);

}  // namespace tiltshift::tests
